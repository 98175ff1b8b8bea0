SELECT
    comparison_id,
    rollout,
    service_name,
    environment,
    baseline_route,
    baseline_model,
    candidate_route,
    candidate_model,
    opened_at,
    day_zero,
    closed_at,
    settings_hash,
    detail
FROM comparisons FINAL
WHERE closed_at IS NULL
ORDER BY rollout, opened_at, comparison_id
