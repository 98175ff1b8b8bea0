-- Rows of settled minutes that no longer say what was settled.
SELECT toInt64(count()) AS n_rows
FROM
(
    SELECT minute, metric, evaluator, evaluator_version, sampling_rule, cohort, prompt_version,
        n_candidate AS n_s, fail_candidate AS x_s, n_baseline AS n_t, fail_baseline AS x_t
    FROM settled_minutes FINAL
    WHERE comparison_id = {comparison_id:String} AND metric IN ('eval_fail', 'retry', 'fallback', 'timeout', 'error')
        AND minute >= toDateTime({since:DateTime64(3, 'UTC')}, 'UTC') AND n_candidate + n_baseline > 0
) AS settled
INNER JOIN
(
    SELECT bucket, metric, evaluator, evaluator_version, sampling_rule, cohort, prompt_version,
        toInt64(sumIf(n_scored_matured, model_route = {candidate:String} AND model = {candidate_model:String})) AS now_n_s,
        toInt64(sumIf(n_fail_matured, model_route = {candidate:String} AND model = {candidate_model:String})) AS now_x_s,
        toInt64(sumIf(n_scored_matured, model_route = {baseline:String} AND model = {baseline_model:String})) AS now_n_t,
        toInt64(sumIf(n_fail_matured, model_route = {baseline:String} AND model = {baseline_model:String})) AS now_x_t
    FROM metric_minutes FINAL
    PREWHERE service_name = {service:String} AND environment = {environment:String} AND mirrored = 0 AND pair_route = ''
        AND metric IN ('eval_fail', 'retry', 'fallback', 'timeout', 'error')
        AND bucket >= toDateTime({since:DateTime64(3, 'UTC')}, 'UTC')
    GROUP BY bucket, metric, evaluator, evaluator_version, sampling_rule, cohort, prompt_version
) AS current
ON settled.minute = current.bucket AND settled.metric = current.metric AND settled.evaluator = current.evaluator
    AND settled.evaluator_version = current.evaluator_version AND settled.sampling_rule = current.sampling_rule
    AND settled.cohort = current.cohort AND settled.prompt_version = current.prompt_version
WHERE n_s != now_n_s OR x_s != now_x_s OR n_t != now_n_t OR x_t != now_x_t
