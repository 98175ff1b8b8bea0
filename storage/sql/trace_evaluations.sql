-- Judgements of some traces: those that name them, and those of their sessions or responses that were resolved to them.
WITH candidates AS
(
    SELECT
        evaluation_id, target_scope, target_trace_id, target_span_id, target_session_id, target_response_id, name, score, label,
        passed, explanation, annotator_kind, identifier, evaluator_error, evaluator_version, sampling_rule, source_dialect,
        source_form, metadata, evaluated_at, received_at
    FROM evaluation_records FINAL
    WHERE target_trace_id IN {trace_ids:Array(String)}
    UNION ALL
    SELECT
        evaluation_id, target_scope, target_trace_id, target_span_id, target_session_id, target_response_id, name, score, label,
        passed, explanation, annotator_kind, identifier, evaluator_error, evaluator_version, sampling_rule, source_dialect,
        source_form, metadata, evaluated_at, received_at
    FROM evaluation_records FINAL
    WHERE target_trace_id = ''
        AND ((target_session_id != '' AND target_session_id IN (SELECT arrayJoin({session_ids:Array(String)})))
            OR (target_session_id = '' AND target_response_id != '' AND target_response_id IN (SELECT arrayJoin({response_ids:Array(String)}))))
)
SELECT
    if(target.trace_id = '', target_trace_id, target.trace_id) AS trace_id, candidates.evaluation_id AS evaluation_id, target_scope, target_trace_id, target_span_id, target_session_id,
    target_response_id, if(target.span_id = '', target_span_id, target.span_id) AS span_id, name, score, label, passed, explanation,
    annotator_kind, identifier, evaluator_error, evaluator_version, sampling_rule, metadata['data_type'] AS data_type, source_dialect,
    source_form, metadata, evaluated_at, received_at
FROM candidates
LEFT JOIN
(
    SELECT evaluation_id, trace_id, span_id
    FROM evaluation_targets FINAL
    WHERE evaluation_id IN (SELECT evaluation_id FROM candidates)
) AS target ON target.evaluation_id = candidates.evaluation_id
WHERE target_trace_id IN {trace_ids:Array(String)} OR target.trace_id IN {trace_ids:Array(String)}
ORDER BY evaluated_at, evaluation_id
