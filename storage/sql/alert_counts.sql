SELECT subject_kind, subject, state, count() AS n_alerts
FROM alerts
GROUP BY subject_kind, subject, state
ORDER BY subject_kind, subject, state
