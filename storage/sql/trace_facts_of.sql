-- Facts of some traces, one row per mirror role; storage/traces.py puts the columns in.
SELECT {columns}
FROM trace_facts FINAL
WHERE {where_traces}
ORDER BY trace_id, mirror_role
