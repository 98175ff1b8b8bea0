SELECT trace_id, started_at, service_name, environment, model_route, model, models, prompt_name, prompt_version, cohort, session_id, user_id, mirror_role, mirror_group, name, duration_ns, ttft_ns, n_spans, n_model_calls, n_logical_calls, n_retried_calls, n_fallback_calls, n_timed_out_calls, n_errored_calls, retried, fell_back, fallback_to, timed_out, errored, error_type, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, cost_source, reported_cost_usd, computed_cost_usd, evaluation_cost_usd, unpriced_calls, evaluation_sampled, sampling_rule, quality_flags, received_at
FROM trace_facts FINAL
PREWHERE toUnixTimestamp(toStartOfHour(started_at)) IN {hours:Array(Int64)} AND started_at >= fromUnixTimestamp64Nano({first:Int64})
    AND started_at <= fromUnixTimestamp64Nano({last:Int64}) AND trace_id IN (SELECT arrayJoin({traces:Array(String)}))
SETTINGS use_skip_indexes_if_final = 1, use_skip_indexes_if_final_exact_mode = 0
