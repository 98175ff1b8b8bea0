SELECT name, service_name, environment, baseline, candidate, declaration, state, actor, reason, effective_from, recorded_at
FROM rollouts
WHERE name = {name:String}
ORDER BY recorded_at
