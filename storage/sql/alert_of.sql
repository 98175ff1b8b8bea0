SELECT
    alert_id, subject_kind, subject, comparison_id, kind, state, streams, opened_at, evidence_at, fired_at,
    acknowledged_at, acknowledged_by, silenced_until, silenced_by, silence_reason, accepted_at, resolved_at,
    closed_by, close_reason, n_notices, last_notified_at, page
FROM alerts
WHERE alert_id = {alert_id:String}
