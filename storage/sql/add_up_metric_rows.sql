-- Rollup rows added up per bucket and key; storage/metrics.py puts in pieces, keys, sums and histograms, from its own names. Values are bound.
SELECT
    fromUnixTimestamp64Milli(toInt64(1000 * ({origin:Int64} + intDiv(toInt64(toUnixTimestamp(bucket)) - {origin:Int64}, {step:Int64}) * {step:Int64})), 'UTC') AS start,
    metric,
    {keys}
    {sums}
    {histograms}
FROM ({pieces})
GROUP BY start, {keys} metric
ORDER BY start, {keys} metric
-- A month of hours is 150,000 rows: too few for the engine to read on two threads unless told, and adding histograms up is work for both.
SETTINGS prefer_column_name_to_alias = 1, merge_tree_min_rows_for_concurrent_read = 16384, merge_tree_min_bytes_for_concurrent_read = 1048576
