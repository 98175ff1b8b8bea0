-- Tables that hold rows of their own, less those that a materialized view fills from another table.
SELECT name
FROM system.tables
WHERE database = {database:String}
    AND engine LIKE '%MergeTree'
    AND name NOT IN
    (
        SELECT replaceAll(extract(create_table_query, ' TO (?:[^ .]+\\.)?([^ .(]+)'), '`', '')
        FROM system.tables
        WHERE database = {database:String} AND engine = 'MaterializedView'
    )
ORDER BY name
