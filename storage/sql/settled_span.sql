-- First and last settled minute, seconds since 1970; no row where nothing was settled.
SELECT toInt64(toUnixTimestamp(min(minute))) AS first, toInt64(toUnixTimestamp(max(minute))) AS last
FROM settled_minutes
WHERE comparison_id = {comparison_id:String} AND settled_at > {settled_after:DateTime64(9, 'UTC')}
HAVING count() > 0
