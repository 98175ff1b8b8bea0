-- Whole traces first, by the one column that says which: an earlier or later copy of a row may lie in another minute of the hour.
SELECT trace_id, mirror_role, metric, evaluator, evaluator_version, sampling_rule, n_verdicts, failed, score, failed_matured, score_matured, n_verdicts_matured
FROM trace_outcomes FINAL
PREWHERE toUnixTimestamp(toStartOfHour(started_at)) IN {hours:Array(Int64)}
    AND trace_id IN
    (
        SELECT trace_id
        FROM trace_outcomes
        PREWHERE toUnixTimestamp(toStartOfHour(started_at)) IN {hours:Array(Int64)} AND started_at >= fromUnixTimestamp64Nano({first:Int64})
            AND started_at <= fromUnixTimestamp64Nano({last:Int64}) AND toUnixTimestamp(toStartOfMinute(started_at)) IN {minutes:Array(Int64)}
    )
WHERE toUnixTimestamp(toStartOfMinute(started_at)) IN {minutes:Array(Int64)}
