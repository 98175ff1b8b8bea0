-- Tables the collector writes. Unknown is NULL for numbers and booleans, '' for strings.

CREATE TABLE IF NOT EXISTS span_records
(
    trace_id String,
    span_id String,
    parent_span_id String,
    trace_state String,
    name LowCardinality(String),
    span_kind LowCardinality(String),
    start_time DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    end_time DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    duration_ns UInt64 CODEC(T64, ZSTD(1)),
    service_name LowCardinality(String),
    environment LowCardinality(String),
    release LowCardinality(String),
    scope_name LowCardinality(String),
    scope_version LowCardinality(String),
    dialects Array(LowCardinality(String)),
    kind LowCardinality(String),
    operation LowCardinality(String),
    model_route LowCardinality(String),
    cohort LowCardinality(String),
    request_model LowCardinality(String),
    response_model LowCardinality(String),
    provider LowCardinality(String),
    prompt_name LowCardinality(String),
    prompt_version LowCardinality(String),
    input_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    output_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    total_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    cache_read_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    cache_write_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    reasoning_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    audio_input_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    audio_output_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    token_quality LowCardinality(String),
    reported_cost_usd Nullable(Decimal(18, 9)),
    cost_source LowCardinality(String),
    ttft_ns Nullable(UInt64) CODEC(T64, ZSTD(1)),
    is_streaming Nullable(Bool),
    status LowCardinality(String),
    status_message String,
    error_type LowCardinality(String),
    http_status Nullable(UInt16),
    finish_reasons Array(LowCardinality(String)),
    attempt_index Nullable(UInt16),
    attempt_kind LowCardinality(String),
    fallback_from LowCardinality(String),
    call_group String,
    tool_name LowCardinality(String),
    tool_call_id String,
    tool_call_names Array(LowCardinality(String)),
    session_id String,
    user_id String,
    tags Array(LowCardinality(String)),
    metadata Map(LowCardinality(String), String),
    mirror_role LowCardinality(String),
    mirror_group String,
    response_id String,
    -- rollout.evaluation.sampled and .rule: a verdict is to be expected, chosen by this rule
    evaluation_sampled Nullable(Bool),
    evaluation_rule LowCardinality(String),
    -- names of what was coerced, dropped or in conflict while this row was made
    quality_flags Array(LowCardinality(String)),
    attributes Map(LowCardinality(String), String),
    -- wire tag byte of each attribute value, in the order of `attributes`: tells "0" from 0
    attribute_types Array(UInt8),
    resource_attributes Map(LowCardinality(String), String),
    events Array(Tuple(time DateTime64(9, 'UTC'), name LowCardinality(String), attributes Map(LowCardinality(String), String))),
    links Array(Tuple(trace_id String, span_id String, trace_state String, attributes Map(LowCardinality(String), String))),
    dropped_attributes_count UInt32 CODEC(T64, ZSTD(1)),
    dropped_events_count UInt32 CODEC(T64, ZSTD(1)),
    dropped_links_count UInt32 CODEC(T64, ZSTD(1)),
    resource_schema_url LowCardinality(String),
    scope_schema_url LowCardinality(String),
    received_at DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    written_at DateTime64(9, 'UTC') DEFAULT now64(9) CODEC(Delta, ZSTD(1)),
    -- end_time in nanoseconds * 2^32 + 32 bits of the content's hash: the copy that ends last wins, never the later arrival
    row_version UInt128
)
ENGINE = ReplacingMergeTree(row_version)
PARTITION BY toDate(received_at)
ORDER BY (toStartOfHour(start_time), trace_id, span_id)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000, default_compression_codec = 'ZSTD(1)',
    -- what one insert brings is one file, not one for each of 72 columns; merging makes it columnar
    min_bytes_for_wide_part = 134217728, min_rows_for_wide_part = 0;

-- Which hours of span_records a trace lies in: look-ups by trace id read these few granules instead of all history.
CREATE TABLE IF NOT EXISTS trace_times
(
    trace_id String,
    first_start SimpleAggregateFunction(min, DateTime64(9, 'UTC')),
    last_start SimpleAggregateFunction(max, DateTime64(9, 'UTC')),
    received_date Date
)
ENGINE = AggregatingMergeTree
PARTITION BY received_date
ORDER BY trace_id
SETTINGS index_granularity = 256, ttl_only_drop_parts = 1, default_compression_codec = 'ZSTD(1)';

CREATE MATERIALIZED VIEW IF NOT EXISTS trace_times_mv TO trace_times AS
SELECT trace_id, min(start_time) AS first_start, max(start_time) AS last_start, toDate(max(received_at)) AS received_date
FROM span_records
GROUP BY trace_id;

-- What the assembling job has to look at, in the order it was written. One row per trace and insert.
CREATE TABLE IF NOT EXISTS touched_traces
(
    written_at DateTime64(9, 'UTC'),
    trace_id String,
    first_start DateTime64(9, 'UTC'),
    last_start DateTime64(9, 'UTC'),
    n_spans UInt64
)
ENGINE = MergeTree
PARTITION BY toDate(written_at)
ORDER BY (written_at, trace_id)
TTL toDateTime(written_at) + INTERVAL 8 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS touched_traces_mv TO touched_traces AS
SELECT max(written_at) AS written_at, trace_id, min(start_time) AS first_start, max(start_time) AS last_start, count() AS n_spans
FROM span_records
GROUP BY trace_id;

-- Evaluations that name a response instead of a span are resolved here.
CREATE TABLE IF NOT EXISTS response_spans
(
    response_id String,
    trace_id String,
    span_id String,
    start_time DateTime64(9, 'UTC'),
    received_date Date
)
ENGINE = ReplacingMergeTree
PARTITION BY received_date
ORDER BY (response_id, trace_id, span_id)
SETTINGS index_granularity = 256, ttl_only_drop_parts = 1, default_compression_codec = 'ZSTD(1)';

CREATE MATERIALIZED VIEW IF NOT EXISTS response_spans_mv TO response_spans AS
SELECT response_id, trace_id, span_id, start_time, toDate(received_at) AS received_date
FROM span_records
WHERE response_id != '';

CREATE TABLE IF NOT EXISTS evaluation_records
(
    -- hash of (target scope and id, name, identifier; without identifier also score, label and minute): one row each
    evaluation_id String DEFAULT lower(hex(sipHash128(
        target_scope, target_trace_id, target_span_id, target_session_id, target_response_id, name, identifier,
        identifier = '' ? tuple(ifNull(toString(score), ''), toString(label), toStartOfMinute(evaluated_at)) : tuple('', '', toDateTime(0, 'UTC'))
    ))),
    -- exactly one target is named: trace and span, trace, session or response
    target_scope LowCardinality(String),
    target_trace_id String,
    target_span_id String,
    target_session_id String,
    target_response_id String,
    name LowCardinality(String),
    score Nullable(Float64),
    label LowCardinality(String),
    passed Nullable(Bool),
    explanation String,
    annotator_kind LowCardinality(String),
    identifier String,
    evaluator_error String,
    evaluator_version LowCardinality(String),
    sampling_rule LowCardinality(String),
    source_dialect LowCardinality(String),
    source_form LowCardinality(String),
    -- tokens and cost the evaluator itself spent, when it says so
    metadata Map(LowCardinality(String), String),
    evaluated_at DateTime64(9, 'UTC'),
    received_at DateTime64(9, 'UTC'),
    written_at DateTime64(9, 'UTC') DEFAULT now64(9),
    -- evaluated_at in nanoseconds * 2^32 + 32 bits of the content's hash: the latest verdict wins, never the later arrival
    row_version UInt128 DEFAULT toUInt128(greatest(toUnixTimestamp64Nano(evaluated_at), 0)) * 4294967296
        + sipHash64(ifNull(toString(score), ''), label, ifNull(toString(passed), ''), explanation, evaluator_error) % 4294967296
)
ENGINE = ReplacingMergeTree(row_version)
PARTITION BY toDate(received_at)
ORDER BY (target_trace_id, target_session_id, target_response_id, evaluation_id)
SETTINGS index_granularity = 512, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000, default_compression_codec = 'ZSTD(1)';

CREATE TABLE IF NOT EXISTS touched_evaluations
(
    written_at DateTime64(9, 'UTC'),
    evaluation_id String,
    target_trace_id String,
    target_session_id String,
    target_response_id String
)
ENGINE = MergeTree
PARTITION BY toDate(written_at)
ORDER BY written_at
TTL toDateTime(written_at) + INTERVAL 8 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS touched_evaluations_mv TO touched_evaluations AS
SELECT written_at, evaluation_id, target_trace_id, target_session_id, target_response_id
FROM evaluation_records;

-- Per signal, key and minute of arrival: received = accepted + rejected; accepted = written + pending + quarantined + masked_out.
CREATE TABLE IF NOT EXISTS ingest_ledger
(
    minute DateTime('UTC'),
    signal LowCardinality(String),
    key_id LowCardinality(String),
    -- received, accepted, rejected, written, quarantined, masked_out, superseded; requests: undecodable, pushed_back
    entry LowCardinality(String),
    reason LowCardinality(String),
    n_items UInt64,
    -- which spool segment says so: replaying the segment replaces the row instead of adding one
    source String
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, signal, key_id, entry, reason, source);

CREATE TABLE IF NOT EXISTS quarantine
(
    quarantine_id String,
    quarantined_at DateTime64(9, 'UTC'),
    signal LowCardinality(String),
    key_id LowCardinality(String),
    received_at DateTime64(9, 'UTC'),
    reason String,
    n_items UInt64,
    bytes String CODEC(ZSTD(3)),
    -- held, retried, dropped
    state LowCardinality(String),
    changed_at DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = ReplacingMergeTree(changed_at)
ORDER BY quarantine_id;
