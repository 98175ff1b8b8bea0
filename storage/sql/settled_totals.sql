SELECT
    toInt64(intDiv(toUnixTimestamp(settled_minutes.minute), 60)) AS at,
    metric,
    toInt64(sum(n_candidate + n_baseline)) AS n,
    toInt64(sum(fail_candidate + fail_baseline)) AS fail
FROM settled_minutes FINAL
WHERE comparison_id = {comparison_id:String}
    AND minute >= toDateTime({since:DateTime64(3, 'UTC')}, 'UTC') AND minute < toDateTime({until:DateTime64(3, 'UTC')}, 'UTC')
GROUP BY at, metric
ORDER BY at, metric
