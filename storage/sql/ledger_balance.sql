-- Per signal: what became of everything that arrived in a range. Pending is what the other entries leave; superseded is what was
-- written and has merged into another copy of its span (or was erased since).
WITH (
    SELECT count() FROM span_records
    WHERE received_at >= {since:DateTime64(9, 'UTC')} AND received_at < {until:DateTime64(9, 'UTC')}
        AND toStartOfMinute(received_at) >= {since:DateTime64(9, 'UTC')}
) AS n_spans
SELECT
    signal,
    sumIf(n_items, entry = 'received') AS received,
    sumIf(n_items, entry = 'rejected') AS rejected,
    sumIf(n_items, entry = 'accepted') AS accepted,
    sumIf(n_items, entry = 'written') AS written,
    sumIf(n_items, entry = 'quarantined') AS quarantined,
    sumIf(n_items, entry = 'masked_out') AS masked_out,
    toInt64(accepted) - toInt64(written) - toInt64(quarantined) - toInt64(masked_out) AS pending,
    if(signal = 'traces', greatest(toInt64(written) - toInt64(n_spans), 0), 0) AS superseded,
    sumIf(n_items, entry = 'undecodable') AS undecodable_requests,
    sumIf(n_items, entry = 'pushed_back') AS pushed_back_requests,
    sumIf(n_items, entry = 'refused') AS refused_requests
FROM ingest_ledger FINAL
WHERE minute >= {since:DateTime64(9, 'UTC')} AND minute < {until:DateTime64(9, 'UTC')}
GROUP BY signal
ORDER BY signal
