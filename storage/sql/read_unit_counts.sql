SELECT toStartOfMinute(toDateTime(started_at, 'UTC')) AS minute, count() AS n
FROM trace_facts FINAL
WHERE toUnixTimestamp(toStartOfHour(started_at)) IN {hours:Array(Int64)} AND toUnixTimestamp(toStartOfMinute(started_at)) IN {minutes:Array(Int64)}
    AND NOT has(quality_flags, 'evaluator_only')
GROUP BY minute
