-- Cohorts of a route by traffic, from the daily rollup: whole days.
SELECT cohort
FROM metric_days FINAL
PREWHERE service_name = {service:String} AND metric = 'error' AND model_route = {route:String} AND environment != 'experiment'
    AND pair_route = '' AND cohort != ''
    AND bucket >= toStartOfDay({since:DateTime64(9, 'UTC')}) AND bucket < {until:DateTime64(9, 'UTC')}
GROUP BY cohort
HAVING sum(n_eligible_all) > 0
ORDER BY sum(n_eligible_all) DESC, cohort
