-- What waits in the spools of all processes: nothing is settled before it is in the tables.

CREATE TABLE IF NOT EXISTS spools
(
    -- of the directory, whichever process has it
    spool_id String,
    holder String,
    -- everything that arrived there before is in the tables
    complete_upto DateTime64(9, 'UTC'),
    n_pending UInt64,
    -- emptied and given up
    is_closed Bool,
    changed_at DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = ReplacingMergeTree(changed_at)
ORDER BY spool_id
TTL toDateTime(changed_at) + INTERVAL 30 DAY;
