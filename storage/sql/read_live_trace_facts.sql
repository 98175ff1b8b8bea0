SELECT trace_id, started_at, mirror_role
FROM trace_facts FINAL
PREWHERE toUnixTimestamp(toStartOfHour(started_at)) IN {hours:Array(Int64)} AND started_at >= fromUnixTimestamp64Nano({first:Int64})
    AND started_at <= fromUnixTimestamp64Nano({last:Int64}) AND trace_id IN (SELECT arrayJoin({trace_ids:Array(String)}))
SETTINGS use_skip_indexes_if_final = 1, use_skip_indexes_if_final_exact_mode = 0
