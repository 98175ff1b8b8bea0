-- Evaluations of a window whose target has not been found (yet): by name and what they name, with one example. One that names a
-- trace has found it when a span of that trace is there; what was found for the others is in evaluation_targets.
WITH of_window AS
(
    SELECT evaluation_id, name, target_scope, target_trace_id, target_session_id, target_response_id, received_at
    FROM evaluation_records FINAL
    WHERE toDate(received_at) >= toDate({since:DateTime64(9, 'UTC')}) AND toDate(received_at) <= toDate({until:DateTime64(9, 'UTC')})
        AND received_at >= {since:DateTime64(9, 'UTC')} AND received_at < {until:DateTime64(9, 'UTC')}
        AND target_scope != 'experiment_item'
)
SELECT
    name, target_scope, count() AS n_evaluations, min(received_at) AS oldest,
    argMin(multiIf(target_trace_id != '', target_trace_id, target_response_id != '', target_response_id, target_session_id), received_at)
        AS example_target
FROM of_window
WHERE if(
    target_trace_id != '',
    target_trace_id NOT IN (SELECT trace_id FROM trace_times WHERE trace_id IN (SELECT target_trace_id FROM of_window)),
    evaluation_id NOT IN
    (
        SELECT evaluation_id FROM evaluation_targets FINAL WHERE evaluation_id IN (SELECT evaluation_id FROM of_window)
    ))
GROUP BY name, target_scope
ORDER BY n_evaluations DESC, name, target_scope
LIMIT {limit:UInt32}
