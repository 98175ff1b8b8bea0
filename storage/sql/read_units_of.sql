SELECT trace_id, started_at, service_name, environment, model_route, model, cohort, prompt_version, mirror_role, mirror_group, aa, duration_ns, ttft_ns, n_logical_calls, n_retried_calls, n_fallback_calls, n_timed_out_calls, n_errored_calls, retried, fell_back, timed_out, errored, input_tokens, output_tokens, cost_usd, evaluation_sampled, sampling_rule
FROM trace_facts FINAL
PREWHERE toUnixTimestamp(toStartOfHour(started_at)) IN {hours:Array(Int64)} AND trace_id IN (SELECT arrayJoin({traces:Array(String)}))
WHERE NOT has(quality_flags, 'evaluator_only')
