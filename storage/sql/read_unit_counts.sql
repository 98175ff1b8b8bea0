-- How many rows of units, copies included, lie in each of some minutes.
SELECT toStartOfMinute(toDateTime(started_at, 'UTC')) AS minute, count() AS n
FROM trace_facts
PREWHERE toUnixTimestamp(toStartOfHour(started_at)) IN {hours:Array(Int64)} AND started_at >= fromUnixTimestamp64Nano({first:Int64})
    AND started_at <= fromUnixTimestamp64Nano({last:Int64}) AND toUnixTimestamp(toStartOfMinute(started_at)) IN {minutes:Array(Int64)}
GROUP BY minute
