SELECT trace_id, session_id, mirror_role, started_at
FROM session_traces FINAL
WHERE session_id IN (SELECT arrayJoin({sessions:Array(String)}))
