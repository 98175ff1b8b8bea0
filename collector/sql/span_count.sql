-- Spans that start in [{since}, {until}), copies once.
SELECT count() AS n_spans
FROM span_records FINAL
WHERE start_time >= {since:DateTime64(9, 'UTC')} AND start_time < {until:DateTime64(9, 'UTC')}
