-- Whether any evaluation names a session, and whether any names a response, instead of a trace.
SELECT
    (SELECT count() > 0 FROM (SELECT 1 FROM evaluation_records PREWHERE target_trace_id = '' AND target_session_id != '' LIMIT 1)) AS sessions,
    (SELECT count() > 0 FROM (SELECT 1 FROM evaluation_records PREWHERE target_trace_id = '' AND target_session_id = '' AND target_response_id != '' LIMIT 1)) AS responses
