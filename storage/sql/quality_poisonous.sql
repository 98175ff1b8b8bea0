SELECT trace_id, reason, n_failures, state, changed_at
FROM poisonous_traces FINAL
ORDER BY changed_at DESC, trace_id
LIMIT {limit:UInt32}
