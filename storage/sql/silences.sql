SELECT
    silence_id, subject_kind, subject, alert_id, until, actor, reason, recorded_at
FROM
(
    SELECT silence_id, subject_kind, subject, alert_id, until, actor, reason, recorded_at
    FROM silences
    ORDER BY recorded_at DESC, until, silence_id DESC
    LIMIT 1 BY subject_kind, subject
)
WHERE until > {now:DateTime64(9, 'UTC')}
ORDER BY subject_kind, subject
