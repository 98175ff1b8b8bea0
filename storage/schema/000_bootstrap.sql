-- What the migration runner itself needs; always run, before anything is looked at.

CREATE TABLE IF NOT EXISTS schema_migrations
(
    number UInt32,
    name String,
    checksum String,
    applied_at DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = ReplacingMergeTree
ORDER BY number;

CREATE TABLE IF NOT EXISTS leases
(
    name String,
    holder String,
    term UInt64,
    expires_at DateTime64(9, 'UTC'),
    changed_at DateTime64(9, 'UTC') DEFAULT now64(9)
)
ENGINE = MergeTree
ORDER BY (name, term)
TTL toDateTime(changed_at) + INTERVAL 2 DAY;
