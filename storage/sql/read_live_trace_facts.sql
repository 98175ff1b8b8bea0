SELECT trace_id, started_at, mirror_role
FROM trace_facts FINAL
PREWHERE toUnixTimestamp(toStartOfHour(started_at)) IN {hours:Array(Int64)} AND trace_id IN (SELECT arrayJoin({trace_ids:Array(String)}))
