SELECT alert_id, event_id, event, recorded_at, evidence_at, subject_kind, subject, comparison_id, kind, streams, notice, notice_number, actor, reason, page
FROM alert_events
WHERE alert_id = {alert_id:String}
-- one tick writes several events with one time
ORDER BY recorded_at, indexOf(['opened', 'joined', 'acknowledged', 'fired', 'accepted', 'resolved', 'notified'], event), event_id
LIMIT 1 BY event_id
