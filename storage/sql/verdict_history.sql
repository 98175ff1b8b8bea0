SELECT as_of, kind, gate, reasons, comparison_id, recorded_at
FROM verdicts FINAL
WHERE rollout = {rollout:String} AND as_of < {before:DateTime64(9, 'UTC')}
ORDER BY as_of DESC, recorded_at DESC
LIMIT {limit:UInt32}
