SELECT
    bucket,
    service_name,
    environment,
    metric,
    evaluator,
    evaluator_version,
    sampling_rule,
    model_route,
    model,
    cohort,
    prompt_version,
    aa,
    mirrored,
    pair_route,
    pair_model,
    n_eligible_matured,
    n_scored_matured,
    n_fail_matured,
    n_sampled_matured,
    n_value_matured,
    n11_matured,
    n10_matured,
    n01_matured,
    n00_matured,
    n_incomplete_matured,
    sum_value_matured,
    sum_squares_matured,
    hist_bins_all,
    hist_counts_all,
    hist_sums_all,
    hist_squares_all
FROM metric_minutes FINAL
WHERE bucket >= toDateTime({since:DateTime64(3, 'UTC')}, 'UTC')
    AND bucket < toDateTime({until:DateTime64(3, 'UTC')}, 'UTC')
    AND (empty({services:Array(String)}) OR has({services:Array(String)}, service_name))
    AND (empty({metrics:Array(String)}) OR has({metrics:Array(String)}, metric))
    AND (empty({routes:Array(String)}) OR has({routes:Array(String)}, model_route))
