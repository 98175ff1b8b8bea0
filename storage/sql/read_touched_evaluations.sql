SELECT written_at, evaluation_id, target_trace_id, target_session_id, target_response_id
FROM touched_evaluations
WHERE written_at >= fromUnixTimestamp64Nano({first:Int64}) AND written_at <= fromUnixTimestamp64Nano({last:Int64})
