-- The engine of a table.
SELECT engine FROM system.tables WHERE database = {database:String} AND name = {table:String}
