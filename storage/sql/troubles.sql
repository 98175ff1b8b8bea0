SELECT rollout, kind, comparison_id, metric, n_rows, detail, is_over, since
FROM rollout_troubles FINAL
WHERE NOT is_over
ORDER BY rollout, kind, comparison_id, metric
