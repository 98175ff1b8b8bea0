SELECT written_at, trace_id, first_start, last_start, n_spans
FROM touched_traces
WHERE written_at >= fromUnixTimestamp64Nano({first:Int64}) AND written_at <= fromUnixTimestamp64Nano({last:Int64})
