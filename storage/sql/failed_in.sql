-- Traces of a window that failed a metric.
SELECT trace_id
FROM trace_outcomes FINAL
WHERE toStartOfHour(started_at) >= toStartOfHour({since:DateTime64(9, 'UTC')})
    AND toStartOfHour(started_at) <= toStartOfHour({until:DateTime64(9, 'UTC')})
    AND started_at >= {since:DateTime64(9, 'UTC')} AND started_at < {until:DateTime64(9, 'UTC')}
    AND metric = {failed_metric:String} AND failed
    AND ({failed_evaluator:String} = '' OR evaluator = {failed_evaluator:String})
