-- What was said in some traces: their spans with nothing but attributes, and what says which one answered.
SELECT trace_id, span_id, start_time, kind, CAST(NULL AS Nullable(Bool)) AS is_model_call, session_id, response_id, attributes
FROM span_records FINAL
PREWHERE {where}
ORDER BY start_time, span_id
LIMIT {limit:UInt32} BY trace_id
