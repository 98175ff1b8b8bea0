-- Tables analytics writes, and the public views that join them with what the collector wrote.

CREATE TABLE IF NOT EXISTS span_facts
(
    start_hour DateTime('UTC'),
    trace_id String,
    span_id String,
    model_route LowCardinality(String),
    cohort LowCardinality(String),
    prompt_name LowCardinality(String),
    prompt_version LowCardinality(String),
    session_id String,
    user_id String,
    tags Array(LowCardinality(String)),
    mirror_role LowCardinality(String),
    mirror_group String,
    is_model_call Bool,
    usage_scope LowCardinality(String),
    -- the logical call this span is an attempt of: the span id of its first attempt
    logical_call_id String,
    attempt_index Nullable(UInt16),
    attempt_kind LowCardinality(String),
    fallback_from LowCardinality(String),
    -- what decided attempt_kind: explicit, call_group, siblings, error_on_ok, ...
    attempt_evidence LowCardinality(String),
    is_evaluator_traffic Bool,
    -- what counts for the trace: charged or priced; NULL is unknown
    cost_usd Nullable(Decimal(18, 9)),
    cost_source LowCardinality(String),
    computed_cost_usd Nullable(Decimal(18, 9)),
    quality_flags Array(LowCardinality(String)),
    computed_at DateTime64(9, 'UTC'),
    is_deleted UInt8
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(start_hour)
ORDER BY (start_hour, trace_id, span_id);

CREATE TABLE IF NOT EXISTS trace_facts
(
    trace_id String,
    started_at DateTime64(9, 'UTC'),
    service_name LowCardinality(String),
    environment LowCardinality(String),
    model_route LowCardinality(String),
    -- the model of the route first chosen; `models` has all that answered
    model LowCardinality(String),
    models Array(LowCardinality(String)),
    prompt_name LowCardinality(String),
    prompt_version LowCardinality(String),
    cohort LowCardinality(String),
    session_id String,
    user_id String,
    mirror_role LowCardinality(String),
    mirror_group String,
    name LowCardinality(String),
    duration_ns UInt64,
    ttft_ns Nullable(UInt64),
    n_spans UInt32,
    n_model_calls UInt32,
    n_logical_calls UInt32,
    n_retried_calls UInt32,
    n_fallback_calls UInt32,
    n_timed_out_calls UInt32,
    n_errored_calls UInt32,
    retried Bool,
    fell_back Bool,
    fallback_to LowCardinality(String),
    timed_out Bool,
    errored Bool,
    error_type LowCardinality(String),
    input_tokens Nullable(UInt64),
    output_tokens Nullable(UInt64),
    cache_read_tokens Nullable(UInt64),
    cache_write_tokens Nullable(UInt64),
    reasoning_tokens Nullable(UInt64),
    cost_usd Nullable(Decimal(18, 9)),
    cost_source LowCardinality(String),
    reported_cost_usd Nullable(Decimal(18, 9)),
    computed_cost_usd Nullable(Decimal(18, 9)),
    evaluation_cost_usd Nullable(Decimal(18, 9)),
    unpriced_calls UInt32,
    evaluation_sampled Nullable(Bool),
    sampling_rule LowCardinality(String),
    -- sipHash64(session_id, else trace_id) mod 2
    aa UInt8,
    quality_flags Array(LowCardinality(String)),
    received_at DateTime64(9, 'UTC'),
    computed_at DateTime64(9, 'UTC'),
    is_deleted UInt8
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(started_at)
ORDER BY (toStartOfHour(started_at), trace_id, mirror_role);

-- Where an evaluation's target was found, once it is known.
CREATE TABLE IF NOT EXISTS evaluation_targets
(
    evaluation_id String,
    trace_id String,
    span_id String,
    resolved_by LowCardinality(String),
    computed_at DateTime64(9, 'UTC'),
    is_deleted UInt8
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
ORDER BY evaluation_id
SETTINGS index_granularity = 512;

-- One row per trace (and mirror role), evaluator or feedback kind: several verdicts already made one.
CREATE TABLE IF NOT EXISTS trace_outcomes
(
    trace_id String,
    started_at DateTime64(9, 'UTC'),
    mirror_role LowCardinality(String),
    -- eval_fail, thumbs_down, correction, escalation, abandonment, refund, overturn
    metric LowCardinality(String),
    evaluator LowCardinality(String),
    evaluator_version LowCardinality(String),
    sampling_rule LowCardinality(String),
    n_verdicts UInt32,
    -- of all verdicts so far; NULL: judged, but neither passed nor failed
    failed Nullable(Bool),
    score Nullable(Float64),
    -- of the verdicts made or received by started_at + maturity
    failed_matured Nullable(Bool),
    score_matured Nullable(Float64),
    n_verdicts_matured UInt32,
    computed_at DateTime64(9, 'UTC'),
    is_deleted UInt8
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(started_at)
ORDER BY (toStartOfHour(started_at), trace_id, mirror_role, metric, evaluator, evaluator_version, sampling_rule);

-- Sufficient statistics, mergeable by adding. One row per key, metric and bucket; what a metric has no use for is 0 or empty.
CREATE TABLE IF NOT EXISTS metric_minutes
(
    bucket DateTime('UTC'),
    service_name LowCardinality(String),
    environment LowCardinality(String),
    metric LowCardinality(String),
    evaluator LowCardinality(String),
    evaluator_version LowCardinality(String),
    sampling_rule LowCardinality(String),
    model_route LowCardinality(String),
    model LowCardinality(String),
    cohort LowCardinality(String),
    prompt_version LowCardinality(String),
    aa UInt8,
    -- the teacher's side of a mirrored pair; '' for unpaired units
    pair_route LowCardinality(String),
    pair_model LowCardinality(String),
    n_eligible_matured UInt64,
    n_scored_matured UInt64,
    n_fail_matured UInt64,
    n_value_matured UInt64,
    sum_value_matured Float64,
    sum_squares_matured Float64,
    hist_bins_matured Array(Int16),
    hist_counts_matured Array(UInt64),
    hist_sums_matured Array(Float64),
    hist_squares_matured Array(Float64),
    n11_matured UInt64,
    n10_matured UInt64,
    n01_matured UInt64,
    n00_matured UInt64,
    n_incomplete_matured UInt64,
    n_eligible_all UInt64,
    n_scored_all UInt64,
    n_fail_all UInt64,
    n_value_all UInt64,
    sum_value_all Float64,
    sum_squares_all Float64,
    hist_bins_all Array(Int16),
    hist_counts_all Array(UInt64),
    hist_sums_all Array(Float64),
    hist_squares_all Array(Float64),
    n11_all UInt64,
    n10_all UInt64,
    n01_all UInt64,
    n00_all UInt64,
    n_incomplete_all UInt64,
    -- verdicts that came later than the metric's maturity
    n_late UInt64,
    computed_at DateTime64(9, 'UTC'),
    is_deleted UInt8
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
PARTITION BY toYYYYMM(bucket)
ORDER BY (service_name, metric, bucket, environment, evaluator, evaluator_version, sampling_rule, model_route, model, cohort, prompt_version, aa, pair_route, pair_model);

CREATE TABLE IF NOT EXISTS metric_hours AS metric_minutes;

CREATE TABLE IF NOT EXISTS metric_days AS metric_minutes;

-- The fixed delay after a trace's start at which a metric is read for it (append-only; the newest effective_from at or before a trace's start counts).
CREATE TABLE IF NOT EXISTS maturities
(
    service_name LowCardinality(String),
    metric LowCardinality(String),
    evaluator LowCardinality(String),
    maturity_seconds UInt32,
    effective_from DateTime64(9, 'UTC'),
    source LowCardinality(String),
    recorded_at DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (service_name, metric, evaluator, effective_from);

-- Price history; entries made over the API win from effective_from on.
CREATE TABLE IF NOT EXISTS prices
(
    price_id String,
    model String,
    provider String,
    effective_from DateTime64(9, 'UTC'),
    -- the price as JSON, see analytics/prices.py
    price String,
    author String,
    is_deleted UInt8,
    recorded_at DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (model, provider, effective_from, price_id);

-- Traces no job could digest, with the reason.
CREATE TABLE IF NOT EXISTS poisonous_traces
(
    trace_id String,
    reason String,
    n_failures UInt32,
    state LowCardinality(String),
    changed_at DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = ReplacingMergeTree(changed_at)
ORDER BY trace_id;
