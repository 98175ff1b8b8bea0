-- Evaluations that name one of these traces, sessions or responses. Each names one target, and the conditions follow the table's order.
SELECT evaluation_id, target_trace_id, target_span_id, target_session_id, target_response_id, name, score, label, passed, evaluator_error, evaluator_version, sampling_rule, metadata['data_type'] AS data_type, evaluated_at, received_at
FROM evaluation_records FINAL
PREWHERE toDate(received_at) >= toDate({since:DateTime64(9, 'UTC')}) AND (
    (target_trace_id != '' AND target_trace_id IN (SELECT arrayJoin({traces:Array(String)})))
    OR (target_trace_id = '' AND target_session_id != '' AND target_session_id IN (SELECT arrayJoin({sessions:Array(String)})))
    OR (target_trace_id = '' AND target_session_id = '' AND target_response_id IN (SELECT arrayJoin({responses:Array(String)})))
)
