SELECT DISTINCT response_id, trace_id, span_id, start_time
FROM response_spans
WHERE response_id IN (SELECT arrayJoin({responses:Array(String)}))
