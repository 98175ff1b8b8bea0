SELECT run_id, kind, started_at, finished_at, state, watermark, rows_read, rows_written, seconds, watermark_lag_seconds, progress, detail, error
FROM job_runs FINAL
WHERE {kind:String} = '' OR kind = {kind:String}
ORDER BY started_at DESC, run_id
LIMIT {limit:UInt32}
