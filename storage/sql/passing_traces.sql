-- Traces of one route that passed a metric, newest first.
SELECT facts.trace_id AS trace_id, started_at, cohort, prompt_version, mirror_group
FROM
(
    SELECT trace_id, mirror_role, started_at, cohort, prompt_version, mirror_group, retried, fell_back, timed_out, errored
    FROM trace_facts FINAL
    WHERE toStartOfHour(started_at) >= toStartOfHour({since:DateTime64(9, 'UTC')})
        AND toStartOfHour(started_at) <= toStartOfHour({until:DateTime64(9, 'UTC')})
        AND ({any_hour:Bool} OR toStartOfHour(started_at) IN (SELECT toDateTime(arrayJoin({hours:Array(UInt32)}), 'UTC')))
        AND started_at >= {since:DateTime64(9, 'UTC')} AND started_at < {until:DateTime64(9, 'UTC')}
        AND service_name = {service:String} AND model_route = {route:String}
        AND ({environment:String} = '' OR environment = {environment:String})
        AND ({any_cohort:Bool} OR cohort = {cohort:String})
) AS facts
LEFT JOIN
(
    SELECT trace_id, mirror_role, max(failed) AS failed
    FROM trace_outcomes FINAL
    WHERE toStartOfHour(started_at) >= toStartOfHour({since:DateTime64(9, 'UTC')})
        AND toStartOfHour(started_at) <= toStartOfHour({until:DateTime64(9, 'UTC')})
        AND ({any_hour:Bool} OR toStartOfHour(started_at) IN (SELECT toDateTime(arrayJoin({hours:Array(UInt32)}), 'UTC')))
        AND started_at >= {since:DateTime64(9, 'UTC')} AND started_at < {until:DateTime64(9, 'UTC')}
        AND metric = {metric:String} AND ({evaluator:String} = '' OR evaluator = {evaluator:String})
    GROUP BY trace_id, mirror_role
) AS outcomes ON outcomes.trace_id = facts.trace_id AND outcomes.mirror_role = facts.mirror_role
WHERE NOT ifNull(multiIf(
        {metric:String} = 'retry', toNullable(retried),
        {metric:String} = 'fallback', toNullable(fell_back),
        {metric:String} = 'timeout', toNullable(timed_out),
        {metric:String} = 'error', toNullable(errored),
        {metric:String} = 'eval_fail', outcomes.failed,
        ifNull(outcomes.failed, false)), true)
ORDER BY started_at DESC, trace_id
LIMIT {limit:UInt32}
