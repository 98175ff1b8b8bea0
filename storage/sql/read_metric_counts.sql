-- How many rows of {fine}, copies included, lie in each of some wider buckets.
SELECT intDiv(toUnixTimestamp(bucket), {width:UInt32}) * {width:UInt32} AS wider, count() AS n
FROM {fine}
WHERE bucket >= fromUnixTimestamp({since:Int64}) AND bucket < fromUnixTimestamp({until:Int64}) AND wider IN {buckets:Array(Int64)}
GROUP BY wider
