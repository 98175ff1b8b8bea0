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
    -- the half this trace is in when an arm is compared with itself: one session, one half
    aa UInt8 DEFAULT toUInt8(sipHash64(if(session_id = '', trace_id, session_id)) % 2),
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

-- Which minutes the rolling-up job has to look at, in the order their rows were written (facts changed, or only outcomes), and which
-- ones were rolled up and have to be merged into hours and days.
CREATE TABLE IF NOT EXISTS touched_minutes
(
    written_at DateTime64(9, 'UTC'),
    minute DateTime('UTC'),
    -- facts, outcomes, rollup
    what LowCardinality(String),
    n_rows UInt64
)
ENGINE = MergeTree
PARTITION BY toDate(written_at)
ORDER BY (written_at, minute)
TTL toDateTime(written_at) + INTERVAL 8 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS touched_minutes_of_facts_mv TO touched_minutes AS
SELECT now64(9) AS written_at, toStartOfMinute(toDateTime(started_at, 'UTC')) AS minute, 'facts' AS what, count() AS n_rows
FROM trace_facts
GROUP BY minute;

CREATE MATERIALIZED VIEW IF NOT EXISTS touched_minutes_of_outcomes_mv TO touched_minutes AS
SELECT now64(9) AS written_at, toStartOfMinute(toDateTime(started_at, 'UTC')) AS minute, 'outcomes' AS what, count() AS n_rows
FROM trace_outcomes
GROUP BY minute;

-- Which traces a session has: a judgement of a session belongs to its latest trace before it.
CREATE TABLE IF NOT EXISTS session_traces
(
    session_id String,
    started_at DateTime64(9, 'UTC'),
    trace_id String,
    mirror_role LowCardinality(String),
    computed_at DateTime64(9, 'UTC'),
    is_deleted UInt8
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
ORDER BY (session_id, trace_id, mirror_role, started_at)
SETTINGS index_granularity = 512;

CREATE MATERIALIZED VIEW IF NOT EXISTS session_traces_mv TO session_traces AS
SELECT session_id, started_at, trace_id, mirror_role, computed_at, is_deleted
FROM trace_facts
WHERE session_id != '';

-- Where the units of a mirror group are: a partner is found by its group, whenever it ran.
CREATE TABLE IF NOT EXISTS mirror_units
(
    mirror_group String,
    started_at DateTime64(9, 'UTC'),
    trace_id String,
    mirror_role LowCardinality(String),
    computed_at DateTime64(9, 'UTC'),
    is_deleted UInt8
)
ENGINE = ReplacingMergeTree(computed_at, is_deleted)
ORDER BY (mirror_group, trace_id, mirror_role, started_at)
SETTINGS index_granularity = 512;

CREATE MATERIALIZED VIEW IF NOT EXISTS mirror_units_mv TO mirror_units AS
SELECT mirror_group, started_at, trace_id, mirror_role, computed_at, is_deleted
FROM trace_facts
WHERE mirror_group != '' AND (mirror_role IN ('primary', 'shadow') OR environment = 'experiment');

-- Sufficient statistics, mergeable by adding. One row per key, metric and bucket; what a metric has no use for is 0 or empty.
--
-- metric: eval_fail (one row per evaluator, its version and sampling rule), thumbs_down, correction, escalation, abandonment, refund,
--   overturn, retry, fallback, timeout, error, cost (USD), latency and ttft (seconds), input_tokens, output_tokens, sampled.
-- Rows exist where there is something to say. The denominators of what did not happen are in other rows of the same key: feedback is
--   counted against `error` (every served trace), a missing verdict against `sampled`; see analytics/eligibility.py.
-- Pairs: `mirrored` = 1 marks units that took part in mirroring (primary or shadow) or ran in the environment `experiment`. They count in
--   series, and never enter an unpaired comparison. What happened to the pair is in rows of its own with `pair_route` and
--   `pair_model` set, which hold n11 .. n_incomplete and nothing else. Every pair is stored twice, once from each side: `model_route`,
--   `model`, the other keys and the bucket are the row's own side, `pair_*` the other's. Read the candidate's rows:
--   model_route = candidate AND pair_route = baseline, so that n01 counts pairs in which only the candidate failed.
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
    -- 1: the units were mirrored or ran as an experiment
    mirrored UInt8,
    -- the other side of a pair; '' in rows that count units
    pair_route LowCardinality(String),
    pair_model LowCardinality(String),
    -- units that could fail; of them decided; of them failed. `matured` counts verdicts within the metric's maturity only
    n_eligible_matured UInt64,
    n_scored_matured UInt64,
    n_fail_matured UInt64,
    n_eligible_all UInt64,
    n_scored_all UInt64,
    n_fail_all UInt64,
    -- eval_fail: of n_eligible, those that carried rollout.evaluation.sampled
    n_sampled_matured UInt64,
    n_sampled_all UInt64,
    -- eval_fail: scores; cost, latency, ttft, tokens: one value per trace; retry, fallback, timeout, error: n = logical calls, sum = calls hit
    n_value_matured UInt64,
    sum_value_matured Float64,
    sum_squares_matured Float64,
    n_value_all UInt64,
    sum_value_all Float64,
    sum_squares_all Float64,
    -- bin b counts values in [1.02^b, 1.02^(b+1)), bin -32768 zeros; sums and squares per bin for cost only
    hist_bins_all Array(Int16),
    hist_counts_all Array(UInt64),
    hist_sums_all Array(Float64),
    hist_squares_all Array(Float64),
    -- what has a histogram is known with the trace: matured and all are the same
    hist_bins_matured Array(Int16) ALIAS hist_bins_all,
    hist_counts_matured Array(UInt64) ALIAS hist_counts_all,
    hist_sums_matured Array(Float64) ALIAS hist_sums_all,
    hist_squares_matured Array(Float64) ALIAS hist_squares_all,
    -- pairs: both failed; own passed and other failed; own failed and other passed; both passed; a verdict missing on a side
    n11_matured UInt64,
    n10_matured UInt64,
    n01_matured UInt64,
    n00_matured UInt64,
    n_incomplete_matured UInt64,
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
ORDER BY (service_name, metric, bucket, environment, evaluator, evaluator_version, sampling_rule, model_route, model, cohort, prompt_version, aa, mirrored, pair_route, pair_model);

CREATE MATERIALIZED VIEW IF NOT EXISTS touched_minutes_of_rollups_mv TO touched_minutes AS
SELECT now64(9) AS written_at, bucket AS minute, 'rollup' AS what, count() AS n_rows
FROM metric_minutes
GROUP BY minute;

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
