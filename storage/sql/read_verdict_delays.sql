-- Verdicts on traces of one route that started in [since, until), and how long after the start they came. A fixed sample when there are many.
SELECT
    e.evaluation_id AS evaluation_id,
    e.target_trace_id AS target_trace_id,
    e.target_span_id AS target_span_id,
    e.target_session_id AS target_session_id,
    e.target_response_id AS target_response_id,
    e.name AS name,
    e.score AS score,
    e.label AS label,
    e.passed AS passed,
    e.evaluator_error AS evaluator_error,
    e.evaluator_version AS evaluator_version,
    e.sampling_rule AS sampling_rule,
    e.metadata['data_type'] AS data_type,
    e.evaluated_at AS evaluated_at,
    e.received_at AS received_at,
    (toUnixTimestamp64Nano(if({by_receipt:UInt8} = 1, e.received_at, e.evaluated_at)) - toUnixTimestamp64Nano(f.started_at)) / 1e9 AS delay_seconds
FROM evaluation_records AS e FINAL
LEFT JOIN (SELECT evaluation_id, trace_id FROM evaluation_targets FINAL) AS t ON t.evaluation_id = e.evaluation_id
-- on a cluster a trace may lie on another shard than the verdicts about it
GLOBAL INNER JOIN
(
    SELECT trace_id, min(started_at) AS started_at
    FROM trace_facts FINAL
    WHERE started_at >= {since:DateTime64(9, 'UTC')} AND started_at < {until:DateTime64(9, 'UTC')}
        AND service_name = {service:String} AND model_route = {route:String} AND mirror_role != 'shadow'
    GROUP BY trace_id
    SETTINGS prefer_column_name_to_alias = 1
) AS f ON f.trace_id = if(e.target_trace_id != '', e.target_trace_id, t.trace_id)
ORDER BY cityHash64(e.evaluation_id)
LIMIT 200000
