SELECT delivery_id, sequence, alert_id, event_id, notice, notice_number, channel, state, attempt, holder, not_before, deadline, error, recorded_at
FROM
(
    SELECT delivery_id, sequence, alert_id, event_id, notice, notice_number, channel, state, attempt, holder, not_before, deadline, error, recorded_at
    FROM deliveries
    ORDER BY sequence DESC, recorded_at DESC, holder
    LIMIT 1 BY delivery_id
)
WHERE (empty({states:Array(String)}) OR has({states:Array(String)}, state))
  AND ({alert_id:String} = '' OR alert_id = {alert_id:String})
  AND (recorded_at, delivery_id) < ({before:DateTime64(9, 'UTC')}, {before_id:String})
ORDER BY recorded_at DESC, delivery_id DESC
LIMIT {limit:UInt32}
