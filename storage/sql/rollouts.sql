SELECT name, service_name, environment, baseline, candidate, declaration, state, actor, reason, effective_from, recorded_at
FROM rollouts
WHERE effective_from <= {now:DateTime64(9, 'UTC')}
ORDER BY name, recorded_at DESC
LIMIT 1 BY name
