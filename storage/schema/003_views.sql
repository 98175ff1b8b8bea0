-- The public view of spans: what each said itself, and what its whole trace told about it (empty until the next job).

-- Copies of a span that start in another hour than the copy that counts, so that they have another place in the order of
-- span_records and are not merged away. Rare: a sender changed the start of a span it had already sent.
CREATE TABLE IF NOT EXISTS superseded_copies
(
    start_hour DateTime('UTC'),
    trace_id String,
    span_id String,
    found_at DateTime64(9, 'UTC') DEFAULT now64(9),
    -- a copy that lost and was then sent again, ending last after all
    is_deleted UInt8
)
ENGINE = ReplacingMergeTree(found_at, is_deleted)
ORDER BY (start_hour, trace_id, span_id)
TTL toDateTime(found_at) + INTERVAL 400 DAY;

CREATE VIEW IF NOT EXISTS spans AS
SELECT
    record.trace_id AS trace_id,
    record.span_id AS span_id,
    record.parent_span_id AS parent_span_id,
    record.trace_state AS trace_state,
    record.name AS name,
    record.span_kind AS span_kind,
    record.start_time AS start_time,
    record.end_time AS end_time,
    record.duration_ns AS duration_ns,
    record.service_name AS service_name,
    record.environment AS environment,
    record.release AS release,
    record.scope_name AS scope_name,
    record.scope_version AS scope_version,
    record.dialects AS dialects,
    record.kind AS kind,
    record.operation AS operation,
    if(fact.model_route = '', record.model_route, fact.model_route) AS model_route,
    if(fact.cohort = '', record.cohort, fact.cohort) AS cohort,
    record.request_model AS request_model,
    record.response_model AS response_model,
    record.provider AS provider,
    if(fact.prompt_name = '', record.prompt_name, fact.prompt_name) AS prompt_name,
    if(fact.prompt_version = '', record.prompt_version, fact.prompt_version) AS prompt_version,
    record.input_tokens AS input_tokens,
    record.output_tokens AS output_tokens,
    record.total_tokens AS total_tokens,
    record.cache_read_tokens AS cache_read_tokens,
    record.cache_write_tokens AS cache_write_tokens,
    record.reasoning_tokens AS reasoning_tokens,
    record.audio_input_tokens AS audio_input_tokens,
    record.audio_output_tokens AS audio_output_tokens,
    record.token_quality AS token_quality,
    record.reported_cost_usd AS reported_cost_usd,
    if(fact.cost_source = '', record.cost_source, fact.cost_source) AS cost_source,
    record.ttft_ns AS ttft_ns,
    record.is_streaming AS is_streaming,
    record.status AS status,
    record.status_message AS status_message,
    record.error_type AS error_type,
    record.http_status AS http_status,
    record.finish_reasons AS finish_reasons,
    ifNull(fact.attempt_index, record.attempt_index) AS attempt_index,
    if(fact.attempt_kind = '', record.attempt_kind, fact.attempt_kind) AS attempt_kind,
    if(fact.fallback_from = '', record.fallback_from, fact.fallback_from) AS fallback_from,
    record.call_group AS call_group,
    record.tool_name AS tool_name,
    record.tool_call_id AS tool_call_id,
    record.tool_call_names AS tool_call_names,
    if(fact.session_id = '', record.session_id, fact.session_id) AS session_id,
    if(fact.user_id = '', record.user_id, fact.user_id) AS user_id,
    if(empty(fact.tags), record.tags, fact.tags) AS tags,
    record.metadata AS metadata,
    if(fact.mirror_role = '', record.mirror_role, fact.mirror_role) AS mirror_role,
    if(fact.mirror_group = '', record.mirror_group, fact.mirror_group) AS mirror_group,
    record.response_id AS response_id,
    record.evaluation_sampled AS evaluation_sampled,
    record.evaluation_rule AS evaluation_rule,
    arrayDistinct(arrayConcat(record.quality_flags, fact.quality_flags)) AS quality_flags,
    record.attributes AS attributes,
    record.attribute_types AS attribute_types,
    record.resource_attributes AS resource_attributes,
    record.events AS events,
    record.links AS links,
    record.dropped_attributes_count AS dropped_attributes_count,
    record.dropped_events_count AS dropped_events_count,
    record.dropped_links_count AS dropped_links_count,
    record.resource_schema_url AS resource_schema_url,
    record.scope_schema_url AS scope_schema_url,
    record.received_at AS received_at,
    record.written_at AS written_at,
    fact.is_model_call AS is_model_call,
    fact.usage_scope AS usage_scope,
    fact.logical_call_id AS logical_call_id,
    fact.attempt_evidence AS attempt_evidence,
    fact.is_evaluator_traffic AS is_evaluator_traffic,
    fact.cost_usd AS cost_usd,
    fact.computed_cost_usd AS computed_cost_usd
FROM
(
    SELECT *, toStartOfHour(start_time) AS start_hour
    FROM span_records FINAL
    WHERE (toStartOfHour(start_time), trace_id, span_id) NOT IN (SELECT start_hour, trace_id, span_id FROM superseded_copies FINAL)
) AS record
LEFT JOIN
(
    SELECT *
    FROM span_facts FINAL
) AS fact ON record.start_hour = fact.start_hour AND record.trace_id = fact.trace_id AND record.span_id = fact.span_id
SETTINGS join_algorithm = 'full_sorting_merge';
