-- Per metric and evaluator: verdicts, and those later than the metric's maturity, in a window.
SELECT service_name, metric, evaluator, sum(n_scored_all) AS n_verdicts, sum(n_late) AS n_late_verdicts
FROM metric_hours FINAL
WHERE bucket >= toStartOfHour({since:DateTime64(9, 'UTC')}) AND bucket < {until:DateTime64(9, 'UTC')}
    AND metric IN (SELECT arrayJoin({metrics:Array(String)}))
GROUP BY service_name, metric, evaluator
HAVING n_verdicts + n_late_verdicts > 0
ORDER BY service_name, metric, evaluator
LIMIT {limit:UInt32}
