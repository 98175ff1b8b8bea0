SELECT signal, entry, reason, sum(n_items) AS n_items
FROM ingest_ledger FINAL
GROUP BY signal, entry, reason
ORDER BY signal, entry, reason
