SELECT trace_id, span_id
FROM span_facts FINAL
PREWHERE toUnixTimestamp(start_hour) IN {hours:Array(Int64)} AND trace_id IN (SELECT arrayJoin({traces:Array(String)}))
WHERE mirror_role = 'shadow'
