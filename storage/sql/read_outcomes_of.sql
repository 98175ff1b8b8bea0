SELECT trace_id, mirror_role, metric, evaluator, evaluator_version, sampling_rule, n_verdicts, failed, score, failed_matured, score_matured, n_verdicts_matured
FROM trace_outcomes FINAL
PREWHERE toUnixTimestamp(toStartOfHour(started_at)) IN {hours:Array(Int64)} AND trace_id IN (SELECT arrayJoin({traces:Array(String)}))
