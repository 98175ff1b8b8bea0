INSERT INTO quarantine (quarantine_id, quarantined_at, signal, key_id, received_at, reason, n_items, bytes, state)
SELECT quarantine_id, quarantined_at, signal, key_id, received_at, reason, n_items, if({state:String} = 'held', bytes, ''), {state:String}
FROM quarantine FINAL
WHERE quarantine_id = {quarantine_id:String}
