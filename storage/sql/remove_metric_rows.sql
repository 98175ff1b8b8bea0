-- Takes back the rows of some buckets that a rollup at {computed_at} did not write again: they are no more.
INSERT INTO {table} ({keys}, computed_at, is_deleted)
SELECT {keys}, {computed_at:DateTime64(9, 'UTC')}, 1
FROM {table} FINAL
WHERE bucket >= fromUnixTimestamp({since:Int64}) AND bucket < fromUnixTimestamp({until:Int64})
    AND toUnixTimestamp(bucket) IN {buckets:Array(Int64)}
    AND (empty({metrics:Array(String)}) OR metric IN (SELECT arrayJoin({metrics:Array(String)})))
    AND computed_at < {computed_at:DateTime64(9, 'UTC')}
