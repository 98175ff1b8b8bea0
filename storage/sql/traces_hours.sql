SELECT trace_id, min(first_start) AS first_start, max(last_start) AS last_start
FROM trace_times
WHERE trace_id IN {trace_ids:Array(String)}
GROUP BY trace_id
