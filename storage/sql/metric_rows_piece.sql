SELECT *
FROM {table} FINAL
WHERE bucket >= fromUnixTimestamp({since_{i}:Int64})
    AND bucket < fromUnixTimestamp({until_{i}:Int64})
    AND metric IN (SELECT arrayJoin({metrics:Array(String)}))
    AND pair_route = ''
    AND environment NOT IN (SELECT arrayJoin({without_environments:Array(String)}))
    {filters}
