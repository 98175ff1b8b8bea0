-- Hours in which stored spans start.
SELECT toDateTime64(toStartOfHour(start_time), 9, 'UTC') AS hour
FROM span_records
WHERE start_time >= {since:DateTime64(9, 'UTC')} AND start_time < {until:DateTime64(9, 'UTC')}
GROUP BY hour
ORDER BY hour
