SELECT delivery_id, sequence, alert_id, event_id, notice, notice_number, channel, state, attempt, holder, not_before, deadline, error, recorded_at
FROM deliveries
WHERE delivery_id = {delivery_id:String}
ORDER BY sequence DESC, recorded_at DESC, holder
LIMIT 1
