-- {columns} of {table}, one of the three rollup tables: storage/metrics.py puts them in, from its own names.
SELECT {columns}
FROM {table} FINAL
WHERE bucket >= toDateTime({since:DateTime64(3, 'UTC')}, 'UTC')
    AND bucket < toDateTime({until:DateTime64(3, 'UTC')}, 'UTC')
    AND (empty({services:Array(String)}) OR has({services:Array(String)}, service_name))
    AND (empty({metrics:Array(String)}) OR has({metrics:Array(String)}, metric))
    AND (empty({routes:Array(String)}) OR has({routes:Array(String)}, model_route))
