-- Models nobody could price, by calls, in a window: exactly, or, where there are very many such calls, by one trace in `one_in`.
WITH
    (
        SELECT greatest(1, intDiv(count(), {most:UInt32}))
        FROM span_facts
        WHERE start_hour >= toStartOfHour({since:DateTime64(9, 'UTC')}) AND start_hour <= toStartOfHour({until:DateTime64(9, 'UTC')})
            AND cost_source = 'unpriced'
    ) AS one_in
SELECT
    provider, if(response_model = '', request_model, response_model) AS model, count() * any(one_in) AS n_calls, max(start_time) AS last_seen,
    any(one_in) AS one_in_traces
FROM span_records FINAL
-- FINAL merges only what passes here: keys, so that all copies of a span pass or none
PREWHERE toStartOfHour(start_time) >= toStartOfHour({since:DateTime64(9, 'UTC')})
    AND toStartOfHour(start_time) <= toStartOfHour({until:DateTime64(9, 'UTC')})
    AND trace_id IN
    (
        SELECT trace_id
        FROM span_facts
        WHERE start_hour >= toStartOfHour({since:DateTime64(9, 'UTC')}) AND start_hour <= toStartOfHour({until:DateTime64(9, 'UTC')})
            AND cost_source = 'unpriced' AND sipHash64(trace_id) % one_in = 0
    )
WHERE (trace_id, span_id) IN
(
    SELECT trace_id, span_id
    FROM span_facts FINAL
    PREWHERE start_hour >= toStartOfHour({since:DateTime64(9, 'UTC')}) AND start_hour <= toStartOfHour({until:DateTime64(9, 'UTC')})
        AND trace_id IN
        (
            SELECT trace_id
            FROM span_facts
            WHERE start_hour >= toStartOfHour({since:DateTime64(9, 'UTC')}) AND start_hour <= toStartOfHour({until:DateTime64(9, 'UTC')})
                AND cost_source = 'unpriced' AND sipHash64(trace_id) % one_in = 0
        )
    WHERE cost_source = 'unpriced'
)
GROUP BY provider, model
ORDER BY n_calls DESC, provider, model
LIMIT {limit:UInt32}
