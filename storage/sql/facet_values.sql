-- Values of one dimension with their units, from the hourly rollup.
SELECT {column} AS value, sum(n_eligible_all) AS n
FROM metric_hours FINAL
WHERE bucket >= toStartOfHour({since:DateTime64(9, 'UTC')}) AND bucket < {until:DateTime64(9, 'UTC')}
    AND metric IN (SELECT arrayJoin({metrics:Array(String)}))
GROUP BY value
ORDER BY n DESC, value
LIMIT {limit:UInt32}
