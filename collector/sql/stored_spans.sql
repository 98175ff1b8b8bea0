-- Stored spans as `decode.spans` would give them: the text of attributes and what the span said of itself.
SELECT
    trace_id, span_id, parent_span_id, trace_state, name, span_kind, scope_name, scope_version, scope_schema_url, resource_schema_url,
    resource_attributes, links, dropped_attributes_count, dropped_events_count, dropped_links_count, row_version, status_message,
    multiIf(status IN ('error', 'timeout', 'cancelled'), 2, status = 'ok', 1, 0) AS status_code,
    toUInt64(toUnixTimestamp64Nano(start_time)) AS start_ns,
    if(has(quality_flags, 'end_before_start'), toUInt64(0), toUInt64(toUnixTimestamp64Nano(end_time))) AS end_ns,
    toUInt64(toUnixTimestamp64Nano(received_at)) AS received_ns,
    mapKeys(attributes) AS keys,
    mapValues(attributes) AS texts,
    attribute_types AS types,
    arrayMap(e -> toUInt64(toUnixTimestamp64Nano(e.time)), events) AS event_times,
    arrayMap(e -> e.name, events) AS event_names,
    arrayMap(e -> e.attributes, events) AS event_attributes,
    has(quality_flags, 'duplicate_key') AS has_duplicate_keys,
    has(quality_flags, 'empty_key') AS has_empty_key,
    has(quality_flags, 'bad_parent') AS has_bad_parent,
    has(quality_flags, 'dropped_link') AS has_bad_link
FROM span_records FINAL
WHERE start_time >= {since:DateTime64(9, 'UTC')} AND start_time < {until:DateTime64(9, 'UTC')}
