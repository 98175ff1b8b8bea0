SELECT channel, state, count() AS n_deliveries, sum(attempt) AS n_attempts
FROM
(
    SELECT channel, state, attempt
    FROM deliveries
    ORDER BY sequence DESC, recorded_at DESC, holder
    LIMIT 1 BY delivery_id
)
GROUP BY channel, state
ORDER BY channel, state
