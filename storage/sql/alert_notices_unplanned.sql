-- An incident that opened and closed before there was any channel is nobody's news.
SELECT alert_id, event_id, event, recorded_at, evidence_at, subject_kind, subject, comparison_id, kind, streams, notice, notice_number, actor, reason, '' AS page
FROM alert_events
WHERE event = 'notified'
  AND event_id NOT IN (SELECT event_id FROM deliveries)
  AND (alert_id NOT IN (SELECT alert_id FROM alert_events WHERE event IN ('accepted', 'resolved'))
       OR alert_id IN (SELECT alert_id FROM deliveries))
ORDER BY recorded_at, event_id
LIMIT 1 BY event_id
