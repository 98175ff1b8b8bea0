-- Traces of a rollout's candidate that failed a metric, each beside one of the baseline that passed: the mirrored twin where
-- there is one, else the last of the same cohort and prompt version that started before it.
WITH judged AS
(
    SELECT
        facts.trace_id AS trace_id, started_at, model_route, cohort, prompt_version, mirror_group,
        multiIf(
            {metric:String} = 'retry', toNullable(retried),
            {metric:String} = 'fallback', toNullable(fell_back),
            {metric:String} = 'timeout', toNullable(timed_out),
            {metric:String} = 'error', toNullable(errored),
            {metric:String} = 'eval_fail', outcomes.failed,
            ifNull(outcomes.failed, false)) AS failed
    FROM
    (
        SELECT trace_id, mirror_role, started_at, model_route, cohort, prompt_version, mirror_group, retried, fell_back, timed_out, errored
        FROM trace_facts FINAL
        WHERE toStartOfHour(started_at) >= toStartOfHour({since:DateTime64(9, 'UTC')})
            AND toStartOfHour(started_at) <= toStartOfHour({until:DateTime64(9, 'UTC')})
            AND started_at >= {since:DateTime64(9, 'UTC')} AND started_at < {until:DateTime64(9, 'UTC')}
            AND service_name = {service:String}
            AND ({environment:String} = '' OR environment = {environment:String})
            AND model_route IN ({baseline:String}, {candidate:String})
            AND ({any_cohort:Bool} OR cohort = {cohort:String})
    ) AS facts
    LEFT JOIN
    (
        SELECT trace_id, mirror_role, max(failed) AS failed
        FROM trace_outcomes FINAL
        WHERE toStartOfHour(started_at) >= toStartOfHour({since:DateTime64(9, 'UTC')})
            AND toStartOfHour(started_at) <= toStartOfHour({until:DateTime64(9, 'UTC')})
            AND started_at >= {since:DateTime64(9, 'UTC')} AND started_at < {until:DateTime64(9, 'UTC')}
            AND metric = {metric:String} AND ({evaluator:String} = '' OR evaluator = {evaluator:String})
        GROUP BY trace_id, mirror_role
    ) AS outcomes ON outcomes.trace_id = facts.trace_id AND outcomes.mirror_role = facts.mirror_role
),
failing AS
(
    SELECT trace_id, started_at, cohort, prompt_version, mirror_group
    FROM judged
    WHERE model_route = {candidate:String} AND failed
    ORDER BY started_at DESC, trace_id
    LIMIT {scanned:UInt32}
),
passing AS
(
    SELECT trace_id, started_at, cohort, prompt_version, mirror_group
    FROM judged
    WHERE model_route = {baseline:String} AND NOT failed
),
twins AS
(
    SELECT mirror_group, min(passing.trace_id) AS twin_id, argMin(passing.started_at, passing.trace_id) AS twin_started_at
    FROM passing WHERE mirror_group != '' GROUP BY mirror_group
)
SELECT
    failing.trace_id AS candidate_trace_id, failing.started_at AS started_at, failing.cohort AS cohort,
    if(twin_id = '', passing.trace_id, twin_id) AS baseline_trace_id,
    if(twin_id = '', passing.started_at, twin_started_at) AS baseline_started_at,
    twin_id != '' AS is_mirrored
FROM failing
LEFT JOIN twins ON twins.mirror_group = failing.mirror_group
ASOF LEFT JOIN passing
    ON passing.cohort = failing.cohort AND passing.prompt_version = failing.prompt_version AND failing.started_at >= passing.started_at
WHERE baseline_trace_id != ''
ORDER BY is_mirrored DESC, started_at DESC, candidate_trace_id
LIMIT {limit:UInt32}
