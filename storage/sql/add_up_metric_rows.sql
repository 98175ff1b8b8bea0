-- Rollup rows added up per bucket and key; storage/metrics.py puts in pieces, keys, sums and histograms, from its own names. Values are bound.
-- A bucket is a number: what it is made into, and the order of rows, is for the few that come out. Sorting here costs a tenth of the whole.
SELECT
    intDiv(toUInt32(bucket) - {origin:Int64}, {step:Int64}) AS number,
    metric,
    {keys}
    {sums}
    {histograms}
FROM ({pieces})
GROUP BY number, {keys} metric
-- A month of hours is 150,000 rows: too few for the engine to read on two threads unless told, and adding histograms up is work for both.
SETTINGS prefer_column_name_to_alias = 1, merge_tree_min_rows_for_concurrent_read = 16384, merge_tree_min_bytes_for_concurrent_read = 1048576
