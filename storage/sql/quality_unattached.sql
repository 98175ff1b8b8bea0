-- Evaluations of a window without a target among what arrived or was resolved lately. By hash: sets of numbers, not of texts.
SELECT DISTINCT evaluation_id, name, target_scope, target_trace_id, target_session_id, target_response_id, received_at
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
ORDER BY received_at
LIMIT 1 BY evaluation_id
LIMIT {most:UInt32}
