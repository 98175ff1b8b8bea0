SELECT evaluation_id, trace_id, span_id, resolved_by
FROM evaluation_targets FINAL
WHERE evaluation_id IN (SELECT arrayJoin({evaluations:Array(String)}))
