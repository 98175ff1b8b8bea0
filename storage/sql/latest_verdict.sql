-- The newest verdict of a rollout; verdicts are long, and only the newest is read.
SELECT verdict
FROM verdicts FINAL
PREWHERE rollout = {rollout:String} AND as_of = (SELECT max(as_of) FROM verdicts WHERE rollout = {rollout:String})
ORDER BY recorded_at DESC
LIMIT 1
