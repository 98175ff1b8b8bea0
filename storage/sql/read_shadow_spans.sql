SELECT trace_id, span_id
FROM span_facts FINAL
WHERE toUnixTimestamp(start_hour) IN {hours:Array(Int64)}
    AND trace_id IN (SELECT arrayJoin({traces:Array(String)}))
    AND mirror_role = 'shadow'
