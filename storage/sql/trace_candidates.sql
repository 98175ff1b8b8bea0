-- Versions of traces in one window that match, newest first: read without FINAL, so a match may be an outdated version.
SELECT trace_id, mirror_role, started_at
FROM trace_facts
WHERE toStartOfHour(started_at) >= toStartOfHour({since:DateTime64(9, 'UTC')})
    AND toStartOfHour(started_at) <= toStartOfHour({until:DateTime64(9, 'UTC')})
    AND started_at >= {since:DateTime64(9, 'UTC')} AND started_at < {until:DateTime64(9, 'UTC')}
    AND is_deleted = 0
    AND (started_at, trace_id, mirror_role) < (fromUnixTimestamp64Nano({after_time_ns:Int64}, 'UTC'), {after_trace:String}, {after_role:String})
{filters}
ORDER BY started_at DESC, trace_id DESC, mirror_role DESC
LIMIT 1 BY started_at, trace_id, mirror_role
LIMIT {limit:UInt32}
