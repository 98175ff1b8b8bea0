-- Attribute keys that filled no column, in a sample of the newest spans of a window.
SELECT key, n_spans, example, example_scope
FROM
(
    SELECT key, count() AS n_spans, any(substring(value, 1, 100)) AS example, any(scope_name) AS example_scope
    FROM
    (
        SELECT attributes, scope_name
        FROM span_records
        WHERE toStartOfHour(start_time) >= toStartOfHour({since:DateTime64(9, 'UTC')})
            AND toStartOfHour(start_time) <= toStartOfHour({until:DateTime64(9, 'UTC')})
        LIMIT {sample:UInt32}
    )
    ARRAY JOIN mapKeys(attributes) AS key, mapValues(attributes) AS value
    GROUP BY key
)
WHERE key NOT IN (SELECT arrayJoin({known:Array(String)})) AND NOT arrayExists(prefix -> startsWith(key, prefix), {prefixes:Array(String)})
ORDER BY n_spans DESC, key
LIMIT {limit:UInt32}
-- one thread in small blocks: the sample is reached with the first of them
SETTINGS max_threads = 1, max_block_size = 4096
