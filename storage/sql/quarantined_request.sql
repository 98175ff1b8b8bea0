SELECT quarantine_id, quarantined_at, signal, key_id, received_at, reason, n_items, hex(bytes) AS bytes, state
FROM quarantine FINAL
WHERE quarantine_id = {quarantine_id:String}
