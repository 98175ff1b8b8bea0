SELECT quarantine_id, quarantined_at, signal, key_id, received_at, reason, n_items, length(bytes) AS n_bytes, state, changed_at
FROM quarantine FINAL
WHERE ({state:String} = '' OR state = {state:String})
ORDER BY quarantined_at DESC, quarantine_id DESC
LIMIT {limit:UInt32}
