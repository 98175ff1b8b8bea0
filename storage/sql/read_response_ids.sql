SELECT DISTINCT response_id
FROM span_records
PREWHERE toUnixTimestamp(toStartOfHour(start_time)) IN {hours:Array(Int64)} AND trace_id IN (SELECT arrayJoin({traces:Array(String)}))
WHERE response_id != ''
