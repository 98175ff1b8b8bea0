SELECT
    comparison_id,
    minute,
    metric,
    evaluator,
    evaluator_version,
    sampling_rule,
    cohort,
    prompt_version,
    n_candidate,
    fail_candidate,
    eligible_candidate,
    n_value_candidate,
    sum_candidate,
    squares_candidate,
    capped_sum_candidate,
    capped_squares_candidate,
    n_baseline,
    fail_baseline,
    eligible_baseline,
    n_value_baseline,
    sum_baseline,
    squares_baseline,
    capped_sum_baseline,
    capped_squares_baseline,
    n11,
    n10,
    n01,
    n00,
    n_incomplete
FROM settled_minutes FINAL
WHERE comparison_id = {comparison_id:String} AND settled_at > {settled_after:DateTime64(9, 'UTC')}
    AND minute >= toDateTime({since:DateTime64(3, 'UTC')}, 'UTC') AND minute < toDateTime({until:DateTime64(3, 'UTC')}, 'UTC')
ORDER BY minute, metric, evaluator, evaluator_version, sampling_rule, cohort, prompt_version
