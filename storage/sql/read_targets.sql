SELECT evaluation_id, trace_id, span_id, resolved_by
FROM evaluation_targets FINAL
WHERE evaluation_id IN {evaluations:Array(String)}
