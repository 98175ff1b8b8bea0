SELECT
    service_name,
    environment,
    model_route,
    model,
    toInt64(intDiv(toUnixTimestamp(min(bucket)), 60)) AS first_minute,
    toInt64(sum(n_eligible_all)) AS n_traces
FROM metric_minutes FINAL
WHERE service_name IN (SELECT arrayJoin({services:Array(String)})) AND metric = 'error' AND environment != 'experiment' AND pair_route = ''
    AND bucket >= toDateTime({since:DateTime64(3, 'UTC')}, 'UTC') AND bucket < toDateTime({until:DateTime64(3, 'UTC')}, 'UTC')
GROUP BY service_name, environment, model_route, model
ORDER BY service_name, environment, model_route, model
