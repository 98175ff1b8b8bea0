SELECT
    mirror_role, metric, evaluator, evaluator_version, sampling_rule, n_verdicts, failed, score, failed_matured, score_matured,
    n_verdicts_matured
FROM trace_outcomes FINAL
WHERE toStartOfHour(started_at) >= toStartOfHour({since:DateTime64(9, 'UTC')})
    AND toStartOfHour(started_at) <= toStartOfHour({until:DateTime64(9, 'UTC')})
    AND trace_id = {trace_id:String}
ORDER BY mirror_role, metric, evaluator, evaluator_version, sampling_rule
