SELECT *
FROM {table} FINAL
WHERE bucket >= fromUnixTimestamp({since_{i}:Int64})
    AND bucket < fromUnixTimestamp({until_{i}:Int64})
    AND metric IN {metrics:Array(String)}
    AND pair_route = ''
    AND environment NOT IN {without_environments:Array(String)}
    {filters}
