-- All spans of some traces, as far as assembly and pricing need them. Keys are looked at, not values: those may hold whole prompts.
-- Names that repeat come as numbers and a dictionary, half the work of writing each out. (Said here: the embedded driver asks for a
-- statement's settings and puts them back by statements of their own.)
SELECT
    trace_id, span_id, parent_span_id, name, start_time, end_time, service_name, environment, scope_name, kind, operation, model_route,
    cohort, request_model, response_model, provider, prompt_name, prompt_version,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens,
    reported_cost_usd, cost_source, ttft_ns, status, error_type, http_status, finish_reasons, attempt_index, attempt_kind, fallback_from,
    call_group, session_id, user_id, tags, mirror_role, mirror_group, response_id, evaluation_sampled, evaluation_rule, quality_flags,
    has(events.name, 'exception') AS has_exception,
    toUInt32(bitAnd(row_version, 4294967295)) AS content_hash,
    received_at,
    has(events.name, 'litellm.routing.retry')
        OR arrayExists(k -> match(k, {hint_keys:String}), attributes.keys)
        OR arrayExists(k -> startsWith(k, 'fallback'), metadata.keys)
        OR arrayExists(k -> k IN ('rollout.route', 'rollout.cohort'), resource_attributes.keys) AS has_more,
    arrayExists(k -> k IN ({content_keys}), attributes.keys) AS has_content
FROM span_records FINAL
PREWHERE toUnixTimestamp(toStartOfHour(start_time)) IN {hours:Array(Int64)} AND start_time >= fromUnixTimestamp64Nano({first:Int64})
    AND start_time <= fromUnixTimestamp64Nano({last:Int64}) AND trace_id IN (SELECT arrayJoin({traces:Array(String)}))
SETTINGS output_format_arrow_low_cardinality_as_dictionary = 1, use_skip_indexes_if_final = 1, use_skip_indexes_if_final_exact_mode = 0
