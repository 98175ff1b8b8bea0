SELECT comparison_id, settled_at, state, hash
FROM streams FINAL
WHERE comparison_id = {comparison_id:String}
