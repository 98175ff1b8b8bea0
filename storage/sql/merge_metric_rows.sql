-- Rows of {fine} added up into wider buckets of {coarse}. storage/metrics.py puts in tables and columns, from its own names.
-- One thread, so that the same rows are added in the same order and give the same bytes.
INSERT INTO {coarse} (bucket, {keys}, {plain}, hist_bins_all, hist_counts_all, hist_sums_all, hist_squares_all, computed_at, is_deleted)
SELECT
    wider, {keys}, {added},
    mapKeys(counts), mapValues(counts), mapValues(per_bin), mapValues(squares_per_bin),
    {computed_at:DateTime64(9, 'UTC')}, 0
FROM
(
    SELECT
        fromUnixTimestamp(intDiv(toUnixTimestamp(bucket), {width:UInt32}) * {width:UInt32}) AS wider, {keys}, {sums},
        mapSort(sumMap(mapFromArrays(hist_bins_all, hist_counts_all))) AS counts,
        mapSort(sumMap(mapFromArrays(if(empty(hist_sums_all), [], hist_bins_all), hist_sums_all))) AS per_bin,
        mapSort(sumMap(mapFromArrays(if(empty(hist_squares_all), [], hist_bins_all), hist_squares_all))) AS squares_per_bin
    FROM {fine} FINAL
    WHERE bucket >= fromUnixTimestamp({since:Int64}) AND bucket < fromUnixTimestamp({until:Int64})
        AND intDiv(toUnixTimestamp(bucket), {width:UInt32}) * {width:UInt32} IN {buckets:Array(Int64)}
        AND cityHash64({keys}) % {slices:UInt32} = {slice:UInt32}
    GROUP BY wider, {keys}
)
SETTINGS max_threads = 1
