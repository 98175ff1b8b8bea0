-- Rollup rows added up per bucket and key; storage/metrics.py puts in pieces, keys and histograms, from its own names. Values are bound.
SELECT
    fromUnixTimestamp64Milli(toInt64(1000 * ({origin:Int64} + intDiv(toInt64(toUnixTimestamp(bucket)) - {origin:Int64}, {step:Int64}) * {step:Int64})), 'UTC') AS start,
    metric,
    {keys}
    sum(n_eligible_matured) AS n_eligible_matured,
    sum(n_scored_matured) AS n_scored_matured,
    sum(n_fail_matured) AS n_fail_matured,
    sum(n_sampled_matured) AS n_sampled_matured,
    sum(n_value_matured) AS n_value_matured,
    sum(sum_value_matured) AS sum_value_matured,
    sum(sum_squares_matured) AS sum_squares_matured,
    sum(n_eligible_all) AS n_eligible_all,
    sum(n_scored_all) AS n_scored_all,
    sum(n_fail_all) AS n_fail_all,
    sum(n_sampled_all) AS n_sampled_all,
    sum(n_value_all) AS n_value_all,
    sum(sum_value_all) AS sum_value_all,
    sum(sum_squares_all) AS sum_squares_all,
    sum(n_late) AS n_late
    {histograms}
FROM ({pieces})
GROUP BY start, {keys} metric
ORDER BY start, {keys} metric
SETTINGS prefer_column_name_to_alias = 1
