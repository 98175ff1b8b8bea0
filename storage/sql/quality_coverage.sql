-- Per service and route: traces, and those whose cost is known, in a window.
SELECT
    service_name, model_route, count() AS n_traces, countIf(isNotNull(cost_usd)) AS n_priced,
    countIf(model_route = '') AS n_without_route, countIf(cohort = '') AS n_without_cohort,
    countIf(evaluation_sampled) AS n_sampled
FROM trace_facts FINAL
WHERE toStartOfHour(started_at) >= toStartOfHour({since:DateTime64(9, 'UTC')})
    AND toStartOfHour(started_at) <= toStartOfHour({until:DateTime64(9, 'UTC')})
    AND started_at >= {since:DateTime64(9, 'UTC')} AND started_at < {until:DateTime64(9, 'UTC')}
GROUP BY service_name, model_route
ORDER BY n_traces DESC, service_name, model_route
LIMIT {limit:UInt32}
