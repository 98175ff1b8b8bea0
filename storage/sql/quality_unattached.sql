-- Evaluations of a window without a target, by name: those without one among what arrived or was resolved lately, the oldest of
-- them, and of these those without one ever. By hash first: sets of numbers, not of texts. Their ids stay in the engine: a server
-- refuses a parameter of more than 128 KiB.
WITH waiting AS
(
    SELECT evaluation_id, name, target_scope, target_trace_id, target_session_id, target_response_id, received_at
    FROM evaluation_records
    WHERE toDate(received_at) >= toDate({since:DateTime64(9, 'UTC')}) AND toDate(received_at) <= toDate({until:DateTime64(9, 'UTC')})
        AND received_at >= {since:DateTime64(9, 'UTC')} AND received_at < {until:DateTime64(9, 'UTC')}
        AND target_scope != 'experiment_item'
        AND if(
            target_trace_id != '',
            cityHash64(target_trace_id) NOT IN
            (
                SELECT cityHash64(trace_id) FROM trace_times WHERE received_date >= toDate({since:DateTime64(9, 'UTC')}) - 1
            ),
            cityHash64(evaluation_id) NOT IN
            (
                SELECT cityHash64(evaluation_id) FROM evaluation_targets WHERE computed_at >= {since:DateTime64(9, 'UTC')} - INTERVAL 1 HOUR
            ))
    -- the same ones each time that this is read
    ORDER BY received_at, evaluation_id
    LIMIT 1 BY evaluation_id
    LIMIT {most:UInt32}
)
SELECT
    name, target_scope, count() AS n_evaluations, min(received_at) AS oldest,
    argMin(
        multiIf(target_trace_id != '', target_trace_id, target_response_id != '', target_response_id, target_session_id),
        (received_at, evaluation_id)) AS example_target
FROM waiting
WHERE if(
    target_trace_id != '',
    target_trace_id GLOBAL NOT IN
    (
        SELECT trace_id FROM trace_times WHERE trace_id GLOBAL IN (SELECT target_trace_id FROM waiting)
    ),
    evaluation_id GLOBAL NOT IN
    (
        SELECT evaluation_id FROM evaluation_targets FINAL
        WHERE evaluation_id GLOBAL IN (SELECT evaluation_id FROM waiting WHERE target_trace_id = '') AND trace_id != ''
    ))
GROUP BY name, target_scope
ORDER BY n_evaluations DESC, name, target_scope
LIMIT {limit:UInt32}
