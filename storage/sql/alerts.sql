SELECT
    alert_id, subject_kind, subject, comparison_id, kind, state, streams, opened_at, evidence_at, fired_at,
    acknowledged_at, acknowledged_by, silenced_until, silenced_by, silence_reason, accepted_at, resolved_at,
    closed_by, close_reason, n_notices, last_notified_at, page
FROM alerts
WHERE (empty({states:Array(String)}) OR has({states:Array(String)}, state))
  AND ({subject:String} = '' OR (subject_kind = {subject_kind:String} AND subject = {subject:String}))
  AND (opened_at, alert_id) < ({before:DateTime64(9, 'UTC')}, {before_id:String})
ORDER BY opened_at DESC, alert_id DESC
LIMIT {limit:UInt32}
