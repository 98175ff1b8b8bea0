-- What attributes and events of some traces say about retries, fallbacks and the resource's route; a hash of each call's prompt.
SELECT
    trace_id, span_id, start_time,
    resource_attributes['rollout.route'] AS resource_route,
    resource_attributes['rollout.cohort'] AS resource_cohort,
    CAST(
        arrayConcat(
            arrayFilter(hint -> match(hint.1, {hint_keys:String}), arrayZip(mapKeys(attributes), mapValues(attributes))),
            arrayMap(
                hint -> (concat('metadata.', hint.1), hint.2),
                arrayFilter(hint -> startsWith(hint.1, 'fallback'), arrayZip(mapKeys(metadata), mapValues(metadata)))
            ),
            arrayMap(
                event -> ('litellm.routing.retry', event.3['litellm.retry.count']),
                arrayFilter(event -> event.2 = 'litellm.routing.retry', events)
            )
        ),
        'Array(Tuple(key String, value String))'
    ) AS hints,
    arrayFirst(
        content -> content != '',
        [{contents}]
    ) AS content,
    if(content = '', NULL, cityHash64(content)) AS input_hash
FROM span_records FINAL
PREWHERE toUnixTimestamp(toStartOfHour(start_time)) IN {hours:Array(Int64)} AND start_time >= fromUnixTimestamp64Nano({first:Int64})
    AND start_time <= fromUnixTimestamp64Nano({last:Int64}) AND trace_id IN (SELECT arrayJoin({traces:Array(String)}))
SETTINGS use_skip_indexes_if_final = 1, use_skip_indexes_if_final_exact_mode = 0
