-- The present version of the candidates that still match.
SELECT {columns}
FROM trace_facts FINAL
PREWHERE {where_traces}
WHERE started_at >= {since:DateTime64(9, 'UTC')} AND started_at < {until:DateTime64(9, 'UTC')}
{filters}
ORDER BY started_at DESC, trace_id DESC, mirror_role DESC
