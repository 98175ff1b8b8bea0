SELECT bucket, service_name, environment, metric, evaluator, evaluator_version, sampling_rule, model_route, model, cohort, prompt_version, aa, mirrored, pair_route, pair_model
FROM {table} FINAL
WHERE toUnixTimestamp(bucket) IN {buckets:Array(Int64)}
    AND (empty({metrics:Array(String)}) OR metric IN (SELECT arrayJoin({metrics:Array(String)})))
