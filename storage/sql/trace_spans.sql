-- Spans of some traces with the columns of the view `spans`, as the collector wrote them; NULL stands for what only facts say.
SELECT
    trace_id, span_id, parent_span_id, trace_state, name, span_kind, start_time, end_time, duration_ns, service_name, environment,
    release, scope_name, scope_version, dialects, kind, operation,
    CAST(NULL AS Nullable(Bool)) AS is_model_call, CAST(NULL AS Nullable(String)) AS usage_scope, model_route, cohort,
    request_model, response_model, provider, prompt_name, prompt_version,
    input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, audio_input_tokens,
    audio_output_tokens, token_quality,
    CAST(NULL AS Nullable(Decimal(18, 9))) AS cost_usd, cost_source, reported_cost_usd,
    CAST(NULL AS Nullable(Decimal(18, 9))) AS computed_cost_usd, ttft_ns, is_streaming, status, status_message, error_type,
    http_status, finish_reasons, '' AS logical_call_id, attempt_index, attempt_kind, '' AS attempt_evidence, fallback_from,
    call_group, tool_name, tool_call_id, tool_call_names, session_id, user_id, tags, metadata, mirror_role, mirror_group,
    response_id, quality_flags, attributes, attribute_types, resource_attributes, events, links, dropped_attributes_count,
    dropped_events_count, dropped_links_count, resource_schema_url, scope_schema_url, received_at, written_at
FROM span_records FINAL
-- of parts without these traces nothing else is read; a key's rows all pass or none
PREWHERE {where}
ORDER BY start_time, span_id
LIMIT {limit:UInt32} BY trace_id
