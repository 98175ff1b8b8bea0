-- What assembling found out about the spans of some traces.
SELECT
    trace_id, span_id, is_model_call, usage_scope, model_route, cohort, prompt_name, prompt_version, cost_usd, cost_source,
    computed_cost_usd, logical_call_id, attempt_index, attempt_kind, attempt_evidence, fallback_from, session_id, user_id, tags,
    mirror_role, mirror_group
FROM span_facts FINAL
PREWHERE {where}
