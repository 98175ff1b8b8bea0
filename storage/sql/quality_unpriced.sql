-- Models nobody could price, by calls, in a window.
SELECT
    provider, if(response_model = '', request_model, response_model) AS model, count() AS n_calls, max(start_time) AS last_seen
FROM span_records AS r FINAL
INNER JOIN
(
    SELECT trace_id, span_id
    FROM span_facts FINAL
    WHERE start_hour >= toStartOfHour({since:DateTime64(9, 'UTC')}) AND start_hour <= toStartOfHour({until:DateTime64(9, 'UTC')})
        AND cost_source = 'unpriced'
) AS f USING (trace_id, span_id)
WHERE toStartOfHour(start_time) >= toStartOfHour({since:DateTime64(9, 'UTC')})
    AND toStartOfHour(start_time) <= toStartOfHour({until:DateTime64(9, 'UTC')})
GROUP BY provider, model
ORDER BY n_calls DESC, provider, model
LIMIT {limit:UInt32}
