-- What assembling found out about the spans of some traces; storage/traces.py puts the columns in.
SELECT {columns}
FROM span_facts FINAL
PREWHERE {where}
