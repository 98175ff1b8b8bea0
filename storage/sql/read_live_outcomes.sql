SELECT trace_id, started_at, mirror_role, metric, evaluator, evaluator_version, sampling_rule
FROM trace_outcomes FINAL
PREWHERE toUnixTimestamp(toStartOfHour(started_at)) IN {hours:Array(Int64)} AND trace_id IN (SELECT arrayJoin({trace_ids:Array(String)}))
