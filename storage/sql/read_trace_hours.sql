-- Between which moments the spans of some traces start. Partitions before `since` are not looked at: a trace's spans arrive after they start.
SELECT trace_id, min(first_start) AS first_start, max(last_start) AS last_start
FROM trace_times
WHERE received_date >= toDate({since:DateTime64(9, 'UTC')}) AND trace_id IN (SELECT arrayJoin({trace_ids:Array(String)}))
GROUP BY trace_id
