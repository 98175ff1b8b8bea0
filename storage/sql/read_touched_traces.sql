SELECT written_at, trace_id, first_start, last_start, n_spans
FROM touched_traces
WHERE written_at > {after:DateTime64(9, 'UTC')} AND written_at <= {upto:DateTime64(9, 'UTC')}
ORDER BY written_at
LIMIT {limit:UInt64} WITH TIES
