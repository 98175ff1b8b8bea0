SELECT count() AS n, min(first_start) AS first_start, max(last_start) AS last_start
FROM trace_times
WHERE trace_id = {trace_id:String}
