-- Hours with spans that started in a range, and about how many (copies included).
SELECT toStartOfHour(start_time) AS hour, count() AS n_spans
FROM span_records
WHERE start_time >= {since:DateTime64(9, 'UTC')} AND start_time < {until:DateTime64(9, 'UTC')}
GROUP BY hour
ORDER BY hour
