-- The least that any open spool is sure of.
SELECT minOrNull(complete_upto) AS complete_upto
FROM spools FINAL
WHERE NOT is_closed AND changed_at >= now64(9) - toIntervalMillisecond(toInt64({silence:Float64} * 1000))
