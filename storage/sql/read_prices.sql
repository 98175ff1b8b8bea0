SELECT price_id, model, provider, effective_from, price, author, recorded_at
FROM prices FINAL
WHERE is_deleted = 0
ORDER BY model, provider, effective_from
