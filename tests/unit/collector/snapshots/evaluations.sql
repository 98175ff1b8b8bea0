SELECT
    'span' AS target_scope,
    trace_id AS target_trace_id,
    span_id AS target_span_id,
    '' AS target_session_id,
    '' AS target_response_id,
    if(empty(if(attributes['gen_ai.evaluation.name'] IN ('', 'None', 'null', 'undefined'), '', attributes['gen_ai.evaluation.name'])), 'unnamed', if(attributes['gen_ai.evaluation.name'] IN ('', 'None', 'null', 'undefined'), '', attributes['gen_ai.evaluation.name'])) AS name,
    if(isFinite(toFloat64OrNull(attributes['gen_ai.evaluation.score.value'])), toFloat64OrNull(attributes['gen_ai.evaluation.score.value']), NULL) AS score,
    if(attributes['gen_ai.evaluation.score.label'] IN ('', 'None', 'null', 'undefined'), '', attributes['gen_ai.evaluation.score.label']) AS label,
    NULL AS passed,
    if(attributes['gen_ai.evaluation.explanation'] IN ('', 'None', 'null', 'undefined'), '', attributes['gen_ai.evaluation.explanation']) AS explanation,
    transform(replaceAll(lower(name), '-', '_'), ['user_feedback', 'thumbs', 'user_thumbs', 'rating', 'feedback', 'correction', 'abandonment', 'abandoned', 'human_review', 'overturn', 'overturned'], ['user', 'user', 'user', 'user', 'user', 'user', 'user', 'user', 'human', 'human', 'human'], 'unknown') AS annotator_kind,
    '' AS identifier,
    '' AS evaluator_error,
    arrayFirst(t -> t != '', [if(attributes['rollout.evaluation.version'] IN ('', 'None', 'null', 'undefined'), '', attributes['rollout.evaluation.version']), if(attributes['gen_ai.evaluation.version'] IN ('', 'None', 'null', 'undefined'), '', attributes['gen_ai.evaluation.version'])]) AS evaluator_version,
    if(attributes['rollout.evaluation.rule'] IN ('', 'None', 'null', 'undefined'), '', attributes['rollout.evaluation.rule']) AS sampling_rule,
    multiIf(startsWith(scope_name, 'openlit'), 'olt', startsWith(scope_name, 'traceai_'), 'fi1', 'genai') AS source_dialect,
    'span_event' AS source_form,
    map() AS metadata,
    time AS evaluated_at,
    received_at AS received_at
FROM (
SELECT trace_id, span_id, scope_name, fromUnixTimestamp64Nano(toInt64(least(event_time, 9223372036854775807)), 'UTC') AS time,
    mapFromArrays(ks, arrayMap(v -> multiIf(ascii(v) = 10, substring(v, 3 + (length(v) > 129) + (length(v) > 16386) + (length(v) > 2097155)), ascii(v) = 33, toString(reinterpretAsFloat64(substring(v, 2, 8))), v), vs)) AS attributes, received_at
FROM (
    SELECT lower(hex(s_trace_id)) AS trace_id, lower(hex(s_span_id)) AS span_id, toString(scope_name) AS scope_name, fromUnixTimestamp64Nano(toInt64(least(received_ns, 9223372036854775807)), 'UTC') AS received_at, s_events_time, s_events_name, s_events_attributes_key, s_events_attributes_value
    FROM staged
)
ARRAY JOIN s_events_time AS event_time, s_events_name AS event_name,
    s_events_attributes_key AS ks, s_events_attributes_value AS vs
WHERE event_name = 'gen_ai.evaluation.result'
)
