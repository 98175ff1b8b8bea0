SELECT metric, evaluator, toInt64(sum(n_scored_all)) AS n_verdicts, toInt64(sum(n_late)) AS n_late
FROM metric_minutes FINAL
PREWHERE service_name = {service:String} AND model_route IN (SELECT arrayJoin({routes:Array(String)})) AND environment != 'experiment' AND pair_route = ''
    AND metric IN ('eval_fail', 'thumbs_down', 'correction', 'escalation', 'abandonment', 'refund', 'overturn')
    AND bucket >= toDateTime({since:DateTime64(3, 'UTC')}, 'UTC') AND bucket < toDateTime({until:DateTime64(3, 'UTC')}, 'UTC')
GROUP BY metric, evaluator
ORDER BY metric, evaluator
