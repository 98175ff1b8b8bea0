SELECT trace_id, min(first_start) AS first_start, max(last_start) AS last_start
FROM trace_times
WHERE received_date >= {since:Date} AND trace_id IN (SELECT arrayJoin({traces:Array(String)}))
GROUP BY trace_id
SETTINGS prefer_column_name_to_alias = 1
