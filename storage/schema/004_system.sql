-- What the system itself did.

CREATE TABLE IF NOT EXISTS job_runs
(
    run_id String,
    kind LowCardinality(String),
    started_at DateTime64(9, 'UTC'),
    finished_at Nullable(DateTime64(9, 'UTC')),
    -- running, done, failed
    state LowCardinality(String),
    watermark Nullable(DateTime64(9, 'UTC')),
    rows_read UInt64,
    rows_written UInt64,
    seconds Float64,
    watermark_lag_seconds Nullable(Float64),
    progress Float64,
    detail String,
    error String,
    changed_at DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = ReplacingMergeTree(changed_at)
ORDER BY (kind, started_at, run_id)
TTL toDateTime(started_at) + INTERVAL 30 DAY;

CREATE TABLE IF NOT EXISTS api_keys
(
    key_id String,
    name String,
    -- SHA-256 of the secret; the secret itself is shown once and never stored
    hash String,
    scopes Array(LowCardinality(String)),
    created_at DateTime64(9, 'UTC'),
    revoked_at Nullable(DateTime64(9, 'UTC')),
    changed_at DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = ReplacingMergeTree(changed_at)
ORDER BY key_id;
