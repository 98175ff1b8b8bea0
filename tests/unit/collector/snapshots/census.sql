SELECT
    cityHash64(scope_name) AS scope,
    groupUniqArrayArray(s_attributes_key) AS keys,
    groupUniqArrayArray(mapKeys(resource_attributes)) AS resource_keys,
    groupUniqArrayArray(arrayMap(v -> toUInt8(ascii(v)), s_attributes_value)) AS tags,
    groupUniqArrayArray(arrayMap(v -> toUInt8(ascii(v)), arrayFlatten(arrayConcat(s_events_attributes_value, s_links_attributes_value)))) AS event_tags,
    groupUniqArrayArray(s_events_name) AS event_names,
    max(arrayExists((n, ks, vs) -> n = 'gen_ai.evaluation.result' AND NOT arrayAll((k, v) -> (k = 'gen_ai.evaluation.score.value' AND ascii(v) IN (33, 24)) OR (k IN ('gen_ai.evaluation.name', 'gen_ai.evaluation.score.label', 'gen_ai.evaluation.explanation', 'rollout.evaluation.version', 'gen_ai.evaluation.version', 'rollout.evaluation.rule') AND ascii(v) = 10), ks, vs),
        s_events_name, s_events_attributes_key, s_events_attributes_value)) = 1 AS has_odd_evaluations,
    max(arrayExists(v -> if(ascii(v) IN (0, 10, 16, 24, 33, 58), false, ascii(v) != 42 OR NOT (length(v) BETWEEN 6 AND 129 AND substring(v, 3, 1) = '\n' AND ascii(substring(v, 4, 1)) = length(v) - 4 AND substring(v, 5, 1) = '\n' AND ascii(substring(v, 6, 1)) = length(v) - 6)), s_attributes_value)) = 1 AS has_nested,
    max(arrayUniq(s_attributes_key) < length(s_attributes_key) OR has(s_attributes_key, '')) = 1 AS has_repeats,
    max(notEmpty(s_links_trace_id)) = 1 AS has_links,
    max(s_status_code = 2) = 1 AS has_errors
FROM staged
GROUP BY scope
ORDER BY scope
