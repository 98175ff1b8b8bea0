-- What the method keeps: settled minutes, the comparisons opened, the state of their streams, and verdicts.

-- Minutes as they were when they matured, both arms of a stratum in one row. Written once, never corrected.
CREATE TABLE IF NOT EXISTS settled_minutes
(
    comparison_id LowCardinality(String),
    minute DateTime('UTC'),
    -- as in metric_minutes, and: slow (latency above the objective), missing (sampled without a verdict), long_prompt
    metric LowCardinality(String),
    evaluator LowCardinality(String),
    evaluator_version LowCardinality(String),
    sampling_rule LowCardinality(String),
    cohort LowCardinality(String),
    prompt_version LowCardinality(String),
    n_candidate Int64,
    fail_candidate Int64,
    eligible_candidate Int64,
    n_value_candidate Int64,
    sum_candidate Float64,
    squares_candidate Float64,
    capped_sum_candidate Float64,
    capped_squares_candidate Float64,
    n_baseline Int64,
    fail_baseline Int64,
    eligible_baseline Int64,
    n_value_baseline Int64,
    sum_baseline Float64,
    squares_baseline Float64,
    capped_sum_baseline Float64,
    capped_squares_baseline Float64,
    -- mirrored pairs: both failed; only the baseline; only the candidate; none; a verdict missing
    n11 Int64,
    n10 Int64,
    n01 Int64,
    n00 Int64,
    n_incomplete Int64,
    settled_at DateTime64(9, 'UTC')
)
ENGINE = ReplacingMergeTree(settled_at)
PARTITION BY toYYYYMM(minute)
ORDER BY (comparison_id, minute, metric, evaluator, evaluator_version, sampling_rule, cohort, prompt_version);

-- A rollout under one set of models and settings. Frozen references are added once they are known.
CREATE TABLE IF NOT EXISTS comparisons
(
    comparison_id String,
    rollout LowCardinality(String),
    service_name LowCardinality(String),
    environment LowCardinality(String),
    baseline_route LowCardinality(String),
    baseline_model LowCardinality(String),
    candidate_route LowCardinality(String),
    candidate_model LowCardinality(String),
    opened_at DateTime64(9, 'UTC'),
    -- start of day 0: the first candidate trace
    day_zero DateTime('UTC'),
    closed_at Nullable(DateTime64(9, 'UTC')),
    settings_hash String,
    -- settings, frozen references, weights, maturities and split epochs, as JSON
    detail String,
    changed_at DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = ReplacingMergeTree(changed_at)
ORDER BY (rollout, comparison_id);

-- The state of a comparison's streams after everything settled by `settled_at`.
CREATE TABLE IF NOT EXISTS streams
(
    comparison_id String,
    settled_at DateTime64(9, 'UTC'),
    -- zlib, base64
    state String,
    -- SHA-256 of the uncompressed state
    hash String,
    changed_at DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = ReplacingMergeTree(changed_at)
ORDER BY comparison_id;

-- Appended when a verdict changes, never rewritten.
CREATE TABLE IF NOT EXISTS verdicts
(
    rollout LowCardinality(String),
    comparison_id String,
    as_of DateTime64(9, 'UTC'),
    kind LowCardinality(String),
    gate LowCardinality(String),
    reasons Array(String),
    -- the verdict whole, as JSON; see alerts/verdict.py
    verdict String,
    recorded_at DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (rollout, as_of, comparison_id);
