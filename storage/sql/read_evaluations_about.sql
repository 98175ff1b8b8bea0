SELECT evaluation_id, target_trace_id, target_span_id, target_session_id, target_response_id, name, score, label, passed, evaluator_error, evaluator_version, sampling_rule, metadata['data_type'] AS data_type, evaluated_at, received_at
FROM evaluation_records FINAL
WHERE target_trace_id IN (SELECT arrayJoin({traces:Array(String)}))
    OR (target_session_id != '' AND target_session_id IN (SELECT arrayJoin({sessions:Array(String)})))
    OR (target_response_id != '' AND target_response_id IN (SELECT arrayJoin({responses:Array(String)})))
