SELECT DISTINCT response_id
FROM span_records
PREWHERE toUnixTimestamp(toStartOfHour(start_time)) IN {hours:Array(Int64)} AND start_time >= fromUnixTimestamp64Nano({first:Int64})
    AND start_time <= fromUnixTimestamp64Nano({last:Int64}) AND trace_id IN (SELECT arrayJoin({traces:Array(String)}))
WHERE response_id != ''
