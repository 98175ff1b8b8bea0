-- {columns} of {table}, one of the three rollup tables: storage/metrics.py puts them in, from its own names.
SELECT {columns}
FROM {table} FINAL
WHERE bucket >= toDateTime({since:DateTime64(3, 'UTC')}, 'UTC')
    AND bucket < toDateTime({until:DateTime64(3, 'UTC')}, 'UTC'){where}
-- two threads would take as long, and twice the processor: each reads and merges what lies at their border
SETTINGS max_final_threads = 1
