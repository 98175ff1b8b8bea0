    -- of units: only those with an outcome, and those that may be in a pair
    AND
    (
        mirror_group != ''
        OR trace_id IN
        (
            SELECT trace_id
            FROM trace_outcomes
            PREWHERE toUnixTimestamp(toStartOfHour(started_at)) IN {hours:Array(Int64)} AND started_at >= fromUnixTimestamp64Nano({first:Int64})
                AND started_at <= fromUnixTimestamp64Nano({last:Int64}) AND toUnixTimestamp(toStartOfMinute(started_at)) IN {minutes:Array(Int64)}
        )
    )
