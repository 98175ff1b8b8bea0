-- Judgements that name some traces, and those of their sessions or responses that name none; storage/traces.py says which others.
SELECT
    target_trace_id AS trace_id, evaluation_id, target_scope, target_trace_id, target_span_id, target_session_id,
    target_response_id, target_span_id AS span_id, name, score, label, passed, explanation, annotator_kind, identifier,
    evaluator_error, evaluator_version, sampling_rule, metadata['data_type'] AS data_type, source_dialect, source_form, metadata,
    evaluated_at, received_at
FROM evaluation_records FINAL
WHERE target_trace_id IN {trace_ids:Array(String)}{others}
ORDER BY evaluated_at, evaluation_id
