SELECT written_at, evaluation_id, target_trace_id, target_session_id, target_response_id
FROM touched_evaluations
WHERE written_at > {after:DateTime64(9, 'UTC')} AND written_at <= {upto:DateTime64(9, 'UTC')}
ORDER BY written_at
LIMIT {limit:UInt64} WITH TIES
