-- What occurs in the spans of `stored_spans`: the row that `census.answer` reads. Their values are texts already.
SELECT
    groupUniqArrayArray(mapKeys(attributes)) AS keys,
    groupUniqArrayArray(mapKeys(resource_attributes)) AS resource_keys,
    groupUniqArrayArray(events.name) AS event_names,
    max(status IN ('error', 'timeout', 'cancelled')) = 1 AS has_errors
FROM span_records FINAL
WHERE start_time >= {since:DateTime64(9, 'UTC')} AND start_time < {until:DateTime64(9, 'UTC')}
