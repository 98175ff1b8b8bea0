-- Rows of {fine} added up into wider buckets of {coarse}. storage/metrics.py puts in tables and columns, from its own names.
-- One thread, so that the same rows are added in the same order and give the same bytes.
INSERT INTO {coarse} (bucket, {keys}, {plain}, hist_bins_all, hist_counts_all, hist_sums_all, hist_squares_all, computed_at, is_deleted)
SELECT
    wider, {keys}, {added},
    histogram.1, histogram.2, if(has_sums, histogram.3, []), if(has_sums, histogram.4, []),
    {computed_at:DateTime64(9, 'UTC')}, 0
FROM
(
    SELECT
        fromUnixTimestamp(intDiv(toUnixTimestamp(bucket), {width:UInt32}) * {width:UInt32}) AS wider, {keys}, {sums},
        sumMap(
            hist_bins_all, hist_counts_all, arrayResize(hist_sums_all, length(hist_bins_all)), arrayResize(hist_squares_all, length(hist_bins_all))
        ) AS histogram,
        max(notEmpty(hist_sums_all)) AS has_sums
    FROM {fine} FINAL
    WHERE bucket >= fromUnixTimestamp({since:Int64}) AND bucket < fromUnixTimestamp({until:Int64})
        AND intDiv(toUnixTimestamp(bucket), {width:UInt32}) * {width:UInt32} IN {buckets:Array(Int64)}
        AND cityHash64({keys}) % {slices:UInt32} = {slice:UInt32}
    GROUP BY wider, {keys}
)
SETTINGS max_threads = 1
