-- Without pages: they are large, and what happens next does not depend on them.
SELECT alert_id, event_id, event, recorded_at, evidence_at, subject_kind, subject, comparison_id, kind, streams, notice, notice_number, actor, reason, '' AS page
FROM alert_events
WHERE comparison_id IN (SELECT arrayJoin({comparisons:Array(String)}))
   OR alert_id NOT IN (SELECT alert_id FROM alert_events WHERE event IN ('accepted', 'resolved'))
   -- closed, and people who were told of it have not been told so yet
   OR alert_id IN
   (
       SELECT alert_id
       FROM alert_events
       GROUP BY alert_id
       HAVING countIf(event IN ('accepted', 'resolved')) > 0 AND countIf(event = 'notified') > 0 AND countIf(notice = 'resolved') = 0
   )
ORDER BY recorded_at, event_id
