-- What was coerced, dropped, in conflict or guessed while traces were made, by traces, in a window.
SELECT arrayJoin(quality_flags) AS flag, count() AS n_traces, any(trace_id) AS example_trace_id
FROM trace_facts FINAL
-- versions are told apart only of traces of which one is flagged; a key's rows all pass or none
PREWHERE (toStartOfHour(started_at), trace_id) IN
(
    SELECT toStartOfHour(started_at), trace_id
    FROM trace_facts
    WHERE toStartOfHour(started_at) >= toStartOfHour({since:DateTime64(9, 'UTC')})
        AND toStartOfHour(started_at) <= toStartOfHour({until:DateTime64(9, 'UTC')})
        AND notEmpty(quality_flags)
)
WHERE toStartOfHour(started_at) >= toStartOfHour({since:DateTime64(9, 'UTC')})
    AND toStartOfHour(started_at) <= toStartOfHour({until:DateTime64(9, 'UTC')})
    AND started_at >= {since:DateTime64(9, 'UTC')} AND started_at < {until:DateTime64(9, 'UTC')}
GROUP BY flag
ORDER BY n_traces DESC, flag
LIMIT {limit:UInt32}
