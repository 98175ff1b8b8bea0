SELECT trace_id, min(start_time) AS first_start, max(start_time) AS last_start, count() AS n_spans
FROM span_records
WHERE start_time >= {since:DateTime64(9, 'UTC')} AND start_time < {until:DateTime64(9, 'UTC')}
GROUP BY trace_id
