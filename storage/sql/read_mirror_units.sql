SELECT mirror_group, started_at, trace_id, mirror_role
FROM mirror_units FINAL
WHERE mirror_group IN (SELECT arrayJoin({groups:Array(String)}))
