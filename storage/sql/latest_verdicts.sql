-- The newest verdict of every rollout; verdicts are long, and only the newest are read.
SELECT rollout, verdict
FROM verdicts FINAL
PREWHERE (rollout, as_of) IN (SELECT rollout, max(as_of) FROM verdicts GROUP BY rollout)
ORDER BY rollout, recorded_at DESC
LIMIT 1 BY rollout
