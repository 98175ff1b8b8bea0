-- What was said in some traces: their spans with nothing but attributes, and what says which one answered.
SELECT
    r.trace_id AS trace_id, r.span_id AS span_id, r.start_time AS start_time, r.kind AS kind, f.is_model_call AS is_model_call,
    if(isNull(f.found), r.session_id, f.session_id) AS session_id, r.response_id AS response_id, r.attributes AS attributes
FROM span_records AS r FINAL
LEFT JOIN
(
    SELECT trace_id, span_id, toNullable(true) AS found, is_model_call, session_id
    FROM span_facts FINAL
    WHERE {where_facts}
) AS f ON f.trace_id = r.trace_id AND f.span_id = r.span_id
WHERE {where_spans}
ORDER BY start_time, span_id
LIMIT {limit:UInt32} BY trace_id
SETTINGS join_use_nulls = 1
