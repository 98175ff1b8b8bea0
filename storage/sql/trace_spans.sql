-- Spans of some traces as the view `spans` shows them, from the few granules they lie in: `places` are hours with trace ids.
SELECT
    r.trace_id AS trace_id, r.span_id AS span_id, r.parent_span_id AS parent_span_id, r.trace_state AS trace_state, r.name AS name,
    r.span_kind AS span_kind, r.start_time AS start_time, r.end_time AS end_time, r.duration_ns AS duration_ns,
    r.service_name AS service_name, r.environment AS environment, r.release AS release, r.scope_name AS scope_name,
    r.scope_version AS scope_version, r.dialects AS dialects, r.kind AS kind, r.operation AS operation,
    f.is_model_call AS is_model_call, f.usage_scope AS usage_scope,
    if(isNull(f.found), r.model_route, f.model_route) AS model_route,
    if(isNull(f.found), r.cohort, f.cohort) AS cohort,
    r.request_model AS request_model, r.response_model AS response_model, r.provider AS provider,
    if(isNull(f.found), r.prompt_name, f.prompt_name) AS prompt_name,
    if(isNull(f.found), r.prompt_version, f.prompt_version) AS prompt_version,
    r.input_tokens AS input_tokens, r.output_tokens AS output_tokens, r.total_tokens AS total_tokens,
    r.cache_read_tokens AS cache_read_tokens, r.cache_write_tokens AS cache_write_tokens, r.reasoning_tokens AS reasoning_tokens,
    r.audio_input_tokens AS audio_input_tokens, r.audio_output_tokens AS audio_output_tokens, r.token_quality AS token_quality,
    f.cost_usd AS cost_usd, if(isNull(f.found), r.cost_source, f.cost_source) AS cost_source,
    r.reported_cost_usd AS reported_cost_usd, f.computed_cost_usd AS computed_cost_usd, r.ttft_ns AS ttft_ns,
    r.is_streaming AS is_streaming, r.status AS status, r.status_message AS status_message, r.error_type AS error_type,
    r.http_status AS http_status, r.finish_reasons AS finish_reasons, ifNull(f.logical_call_id, '') AS logical_call_id,
    if(isNull(f.found), r.attempt_index, f.attempt_index) AS attempt_index,
    if(isNull(f.found), r.attempt_kind, f.attempt_kind) AS attempt_kind,
    ifNull(f.attempt_evidence, '') AS attempt_evidence,
    if(isNull(f.found), r.fallback_from, f.fallback_from) AS fallback_from,
    r.call_group AS call_group, r.tool_name AS tool_name, r.tool_call_id AS tool_call_id, r.tool_call_names AS tool_call_names,
    if(isNull(f.found), r.session_id, f.session_id) AS session_id,
    if(isNull(f.found), r.user_id, f.user_id) AS user_id,
    if(isNull(f.found), r.tags, f.tags) AS tags,
    r.metadata AS metadata,
    if(isNull(f.found), r.mirror_role, f.mirror_role) AS mirror_role,
    if(isNull(f.found), r.mirror_group, f.mirror_group) AS mirror_group,
    r.response_id AS response_id, r.quality_flags AS quality_flags, r.attributes AS attributes,
    r.attribute_types AS attribute_types, r.resource_attributes AS resource_attributes, r.events AS events, r.links AS links,
    r.dropped_attributes_count AS dropped_attributes_count, r.dropped_events_count AS dropped_events_count,
    r.dropped_links_count AS dropped_links_count, r.resource_schema_url AS resource_schema_url,
    r.scope_schema_url AS scope_schema_url, r.received_at AS received_at, r.written_at AS written_at
FROM span_records AS r FINAL
LEFT JOIN
(
    SELECT
        trace_id, span_id, toNullable(true) AS found, is_model_call, usage_scope, model_route, cohort, prompt_name, prompt_version, cost_usd,
        cost_source, computed_cost_usd, toNullable(logical_call_id) AS logical_call_id, attempt_index, attempt_kind,
        toNullable(attempt_evidence) AS attempt_evidence, fallback_from, session_id, user_id, tags, mirror_role, mirror_group
    FROM span_facts FINAL
    WHERE {where_facts}
) AS f ON f.trace_id = r.trace_id AND f.span_id = r.span_id
WHERE {where_spans}
ORDER BY start_time, span_id
LIMIT {limit:UInt32} BY trace_id
SETTINGS join_use_nulls = 1
