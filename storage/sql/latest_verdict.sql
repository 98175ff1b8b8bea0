SELECT verdict
FROM verdicts FINAL
WHERE rollout = {rollout:String}
ORDER BY as_of DESC, recorded_at DESC
LIMIT 1
