SELECT metric, count() AS n
FROM {table}
WHERE bucket >= fromUnixTimestamp({since:Int64}) AND bucket < fromUnixTimestamp({until:Int64}) AND is_deleted = 0
GROUP BY metric
