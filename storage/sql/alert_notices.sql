SELECT alert_id, event_id, event, recorded_at, evidence_at, subject_kind, subject, comparison_id, kind, streams, notice, notice_number, actor, reason, page
FROM alert_events
WHERE event_id IN (SELECT arrayJoin({event_ids:Array(String)}))
ORDER BY recorded_at, event_id
LIMIT 1 BY event_id
