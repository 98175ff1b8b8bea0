-- The ledger in buckets of `step` seconds; 0 makes one bucket of the whole range.
SELECT
    if({step:UInt32} = 0, toDateTime64({since:DateTime64(9, 'UTC')}, 3, 'UTC'),
        toDateTime64(intDiv(toUnixTimestamp(minute), greatest({step:UInt32}, 1)) * {step:UInt32}, 3, 'UTC')) AS bucket,
    signal, key_id, entry, reason, sum(n_items) AS n_items
FROM ingest_ledger FINAL
WHERE minute >= {since:DateTime64(9, 'UTC')} AND minute < {until:DateTime64(9, 'UTC')}
GROUP BY bucket, signal, key_id, entry, reason
ORDER BY bucket, signal, key_id, entry, reason
