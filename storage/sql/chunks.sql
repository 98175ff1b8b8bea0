-- The partitions of a table that hold rows, oldest first.
SELECT partition_id, sum(rows) AS n_rows, sum(bytes_on_disk) AS n_bytes
FROM system.parts
WHERE database = {database:String} AND table = {table:String} AND active
GROUP BY partition_id
ORDER BY partition_id
