SELECT written_at, minute, what
FROM touched_minutes
WHERE written_at > {after:DateTime64(9, 'UTC')} AND written_at <= {upto:DateTime64(9, 'UTC')} AND what IN (SELECT arrayJoin({what:Array(String)}))
ORDER BY written_at
