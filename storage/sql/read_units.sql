-- Whole traces first, by the one column that says which: an earlier or later copy of a row may lie in another minute of the hour.
SELECT trace_id, started_at, service_name, environment, model_route, model, cohort, prompt_version, mirror_role, mirror_group, aa, duration_ns, ttft_ns, n_logical_calls, n_retried_calls, n_fallback_calls, n_timed_out_calls, n_errored_calls, retried, fell_back, timed_out, errored, input_tokens, output_tokens, cost_usd, evaluation_sampled, sampling_rule
FROM trace_facts FINAL
PREWHERE toUnixTimestamp(toStartOfHour(started_at)) IN {hours:Array(Int64)}
    AND trace_id IN
    (
        SELECT trace_id
        FROM trace_facts
        PREWHERE toUnixTimestamp(toStartOfHour(started_at)) IN {hours:Array(Int64)} AND started_at >= fromUnixTimestamp64Nano({first:Int64})
            AND started_at <= fromUnixTimestamp64Nano({last:Int64}) AND toUnixTimestamp(toStartOfMinute(started_at)) IN {minutes:Array(Int64)}
    )
WHERE toUnixTimestamp(toStartOfMinute(started_at)) IN {minutes:Array(Int64)}
    AND cityHash64(service_name, environment, model_route, model, cohort, prompt_version) % {slices:UInt32} = {slice:UInt32}
    AND NOT has(quality_flags, 'evaluator_only')
{narrowed}
