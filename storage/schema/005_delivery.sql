-- What the alerter told people, whom, and what they answered. All of it append-only: a row is never changed.

-- What happened to an incident. Its state is a fold over these rows (alerts/lifecycle.py); the view `alerts` is the same fold in SQL.
CREATE TABLE IF NOT EXISTS alert_events
(
    alert_id String,
    -- the same decision taken twice (two alerters, a restart) has the same id and counts once
    event_id String,
    -- opened, fired, joined, notified, acknowledged, accepted, resolved
    event LowCardinality(String),
    recorded_at DateTime64(9, 'UTC'),
    -- the evidence's own time: differs from recorded_at when history is replayed
    evidence_at DateTime64(9, 'UTC'),
    -- rollout or threshold, and its name
    subject_kind LowCardinality(String),
    subject String,
    -- an incident belongs to one comparison; the next comparison opens the next incident
    comparison_id String,
    -- divergence, quality_regression, operations_regression, bundle_regression, drift, threshold
    kind LowCardinality(String),
    -- of opened, fired and joined: the streams it adds; of notified: all that were told
    streams Array(String),
    -- of notified: firing, update, reminder, resolved
    notice LowCardinality(String),
    -- of notified: 1, 2, ... within the incident
    notice_number UInt32,
    actor String,
    reason String,
    -- of notified: what was said, as JSON (alerts/page.py)
    page String CODEC(ZSTD(3))
)
ENGINE = MergeTree
ORDER BY (alert_id, recorded_at, event_id);

-- The newest row of a subject counts; one whose `until` is not later than its `recorded_at` lifts the silence.
CREATE TABLE IF NOT EXISTS silences
(
    silence_id String,
    subject_kind LowCardinality(String),
    subject String,
    -- the alert it was asked for, if any
    alert_id String,
    until DateTime64(9, 'UTC'),
    actor String,
    reason String,
    recorded_at DateTime64(9, 'UTC')
)
ENGINE = MergeTree
ORDER BY (subject_kind, subject, recorded_at, silence_id);

CREATE VIEW IF NOT EXISTS alerts AS
SELECT
    alert_id, subject_kind, subject, comparison_id, kind,
    multiIf(isNotNull(accepted_at), 'accepted', isNotNull(resolved_at), 'resolved', isNull(fired_at), 'pending',
            isNotNull(silenced_until), 'silenced', isNotNull(acknowledged_at), 'acknowledged', 'firing') AS state,
    streams, opened_at, evidence_at, fired_at, acknowledged_at, acknowledged_by, silenced_until,
    ifNull(silenced_by, '') AS silenced_by, ifNull(silence_reason, '') AS silence_reason,
    accepted_at, resolved_at, closed_by, close_reason, n_notices, last_notified_at, page
FROM
(
    SELECT
        alert_id,
        any(alert_events.subject_kind) AS subject_kind,
        any(alert_events.subject) AS subject,
        any(alert_events.comparison_id) AS comparison_id,
        argMin(alert_events.kind, alert_events.recorded_at) AS kind,
        arraySort(groupUniqArrayArray(alert_events.streams)) AS streams,
        min(alert_events.recorded_at) AS opened_at,
        min(alert_events.evidence_at) AS evidence_at,
        minIfOrNull(alert_events.recorded_at, event = 'fired') AS fired_at,
        minIfOrNull(alert_events.recorded_at, event = 'acknowledged') AS acknowledged_at,
        argMinIf(actor, alert_events.recorded_at, event = 'acknowledged') AS acknowledged_by,
        minIfOrNull(alert_events.recorded_at, event = 'accepted') AS accepted_at,
        minIfOrNull(alert_events.recorded_at, event = 'resolved') AS resolved_at,
        argMinIf(actor, alert_events.recorded_at, event IN ('accepted', 'resolved')) AS closed_by,
        argMinIf(reason, alert_events.recorded_at, event IN ('accepted', 'resolved')) AS close_reason,
        max(notice_number) AS n_notices,
        maxIfOrNull(alert_events.recorded_at, event = 'notified') AS last_notified_at,
        argMaxIf(alert_events.page, alert_events.recorded_at, event = 'notified') AS page
    FROM alert_events
    GROUP BY alert_id
) AS incidents
LEFT JOIN
(
    SELECT
        subject_kind, subject,
        argMax(toNullable(silences.until), (silences.recorded_at, silence_id)) AS silenced_until,
        argMax(actor, (silences.recorded_at, silence_id)) AS silenced_by,
        argMax(reason, (silences.recorded_at, silence_id)) AS silence_reason
    FROM silences
    GROUP BY subject_kind, subject
    HAVING silenced_until > now64(9)
) AS active_silences USING (subject_kind, subject)
SETTINGS join_use_nulls = 1;

-- One row per step of one message to one channel: written before it is sent, again when it is claimed, again when it went out or failed.
CREATE TABLE IF NOT EXISTS deliveries
(
    -- hash of (event_id, channel): planning the same notice twice is the same delivery
    delivery_id String,
    -- 0 planned, then one up for every step; two claims of one number mean that two alerters met, and neither sends
    sequence UInt32,
    alert_id String,
    event_id String,
    notice LowCardinality(String),
    notice_number UInt32,
    channel String,
    -- pending, claimed, sent, failed (to be tried again), dead (given up; can be retried by hand), superseded
    state LowCardinality(String),
    -- number of times it was or is being sent
    attempt UInt16,
    holder String,
    not_before DateTime64(9, 'UTC'),
    deadline DateTime64(9, 'UTC'),
    error String,
    recorded_at DateTime64(9, 'UTC')
)
ENGINE = MergeTree
ORDER BY (delivery_id, sequence, holder);

-- Declarations, newest wins; those in the settings file are not here.
CREATE TABLE IF NOT EXISTS rollouts
(
    name String,
    service_name LowCardinality(String),
    environment LowCardinality(String),
    baseline String,
    candidate String,
    -- everything declared, as JSON (alerts/config.py, RolloutConfig)
    declaration String,
    -- declared, discovered, ended, rolled_back, deleted
    state LowCardinality(String),
    actor String,
    reason String,
    effective_from DateTime64(9, 'UTC'),
    recorded_at DateTime64(9, 'UTC')
)
ENGINE = MergeTree
ORDER BY (name, recorded_at);
