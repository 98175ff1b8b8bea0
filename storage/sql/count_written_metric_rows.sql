-- How many rows a merge or rollup at {computed_at} wrote, tombstones included.
SELECT count() AS n
FROM {table}
WHERE bucket >= fromUnixTimestamp({since:Int64}) AND bucket < fromUnixTimestamp({until:Int64}) AND computed_at = {computed_at:DateTime64(9, 'UTC')}
