-- {columns} of {table}, one of the three rollup tables: storage/metrics.py puts them in, from its own names.
SELECT {columns}
FROM {table} FINAL
WHERE bucket >= toDateTime({since:DateTime64(3, 'UTC')}, 'UTC')
    AND bucket < toDateTime({until:DateTime64(3, 'UTC')}, 'UTC'){where}
