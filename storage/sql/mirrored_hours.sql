-- Hours in which mirrored units ran, newest first, until there are `most` of them.
SELECT hour
FROM
(
    SELECT hour, sum(n) OVER (ORDER BY hour DESC ROWS UNBOUNDED PRECEDING) - n AS n_newer
    FROM
    (
        SELECT toUInt32(toUnixTimestamp(toStartOfHour(started_at))) AS hour, count() AS n
        FROM mirror_units
        WHERE started_at >= {since:DateTime64(9, 'UTC')} AND started_at < {until:DateTime64(9, 'UTC')}
        GROUP BY hour
    )
)
WHERE n_newer < {most:UInt32}
ORDER BY hour
