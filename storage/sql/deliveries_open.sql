SELECT delivery_id, sequence, alert_id, event_id, notice, notice_number, channel, state, attempt, holder, not_before, deadline, error, recorded_at
FROM
(
    SELECT delivery_id, sequence, alert_id, event_id, notice, notice_number, channel, state, attempt, holder, not_before, deadline, error, recorded_at
    FROM deliveries
    ORDER BY sequence DESC, recorded_at DESC, holder
    LIMIT 1 BY delivery_id
)
WHERE NOT has({final:Array(String)}, state)
ORDER BY alert_id, channel, notice_number, delivery_id
