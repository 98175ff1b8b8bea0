-- The candidate's traces that failed a metric and the baseline's that passed it, newest first.
SELECT facts.trace_id AS trace_id, started_at, cohort, prompt_version, mirror_group, is_candidate
FROM
(
    SELECT
        trace_id, mirror_role, started_at, cohort, prompt_version, mirror_group, model_route = {candidate:String} AS is_candidate,
        {flag} AS flagged
    FROM trace_facts FINAL
    WHERE toStartOfHour(started_at) >= toStartOfHour({since:DateTime64(9, 'UTC')})
        AND toStartOfHour(started_at) <= toStartOfHour({until:DateTime64(9, 'UTC')})
        AND started_at >= {since:DateTime64(9, 'UTC')} AND started_at < {until:DateTime64(9, 'UTC')}
        AND service_name = {service:String} AND model_route IN ({candidate:String}, {baseline:String})
        {where}
) AS facts
LEFT JOIN
(
    SELECT trace_id, mirror_role, max(failed) AS failed
    FROM trace_outcomes FINAL
    WHERE toStartOfHour(started_at) >= toStartOfHour({since:DateTime64(9, 'UTC')})
        AND toStartOfHour(started_at) <= toStartOfHour({until:DateTime64(9, 'UTC')})
        AND started_at >= {since:DateTime64(9, 'UTC')} AND started_at < {until:DateTime64(9, 'UTC')}
        AND metric = {metric:String} AND ({evaluator:String} = '' OR evaluator = {evaluator:String})
        {where_outcomes}
    GROUP BY trace_id, mirror_role
) AS outcomes ON outcomes.trace_id = facts.trace_id AND outcomes.mirror_role = facts.mirror_role
WHERE {verdict} = is_candidate
ORDER BY started_at DESC, trace_id
LIMIT {limit:UInt32} BY is_candidate
