-- The units of some mirror groups.
SELECT mirror_group, trace_id, started_at
FROM mirror_units FINAL
WHERE mirror_group IN {groups:Array(String)}
