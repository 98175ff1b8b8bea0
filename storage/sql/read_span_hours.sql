SELECT DISTINCT toStartOfHour(start_time) AS hour
FROM span_records
WHERE start_time >= {since:DateTime64(9, 'UTC')} AND start_time < {until:DateTime64(9, 'UTC')}
ORDER BY hour
