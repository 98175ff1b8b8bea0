-- What keeps a rollout from being judged, or part of its data from counting: the others go on.
CREATE TABLE IF NOT EXISTS rollout_troubles
(
    rollout LowCardinality(String),
    -- stopped: it is not judged further; malformed_rows: rollup rows that say nothing sensible were left out
    kind LowCardinality(String),
    -- of malformed_rows: the comparison, and the metric
    comparison_id String,
    metric LowCardinality(String),
    n_rows UInt64,
    -- what was being done and the error; of malformed_rows one example
    detail String,
    is_over Bool,
    since DateTime64(9, 'UTC'),
    changed_at DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = ReplacingMergeTree(changed_at)
ORDER BY (rollout, kind, comparison_id, metric)
TTL toDateTime(changed_at) + INTERVAL 400 DAY;
