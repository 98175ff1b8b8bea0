-- Every trace is one eligible unit of the metric `error`, and one value of `cost` when its cost is known.
SELECT
    service_name,
    model_route,
    sumIf(n_eligible_all, metric = 'error') AS n_traces,
    if(sumIf(n_value_all, metric = 'cost') = 0, NULL, sumIf(sum_value_all, metric = 'cost') / sumIf(n_value_all, metric = 'cost')) AS mean_cost_usd,
    toDateTime64(max(bucket), 9, 'UTC') AS last_seen
FROM {table} FINAL
WHERE (empty({services:Array(String)}) OR service_name IN (SELECT arrayJoin({services:Array(String)})))
  AND bucket >= {since:DateTime64(9, 'UTC')} AND bucket < {until:DateTime64(9, 'UTC')}
  AND metric IN ('error', 'cost') AND environment != 'experiment' AND model_route != '' AND pair_route = ''
GROUP BY service_name, model_route
HAVING n_traces > 0
ORDER BY service_name, model_route
