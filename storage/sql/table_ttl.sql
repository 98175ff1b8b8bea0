-- A table's row TTL expression, '' where it has none.
SELECT extract(engine_full, ' TTL (.*?)(?: SETTINGS |$)') AS ttl
FROM system.tables
WHERE database = {database:String} AND name = {table:String}
