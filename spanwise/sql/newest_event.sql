-- The newest event time not beyond the wall clock, and when anything last arrived. 1970 where there is nothing.
SELECT max(newest) AS newest, max(arrived) AS arrived
FROM
(
    SELECT
        greatest(
            maxIf(last_start, last_start <= {wall:DateTime64(9, 'UTC')}),
            maxIf(first_start, first_start <= {wall:DateTime64(9, 'UTC')})) AS newest,
        toDateTime64(0, 9, 'UTC') AS arrived
    FROM trace_times
    UNION ALL
    SELECT toDateTime64(0, 9, 'UTC') AS newest, max(written_at) AS arrived
    FROM touched_traces
    UNION ALL
    SELECT maxIf(evaluated_at, evaluated_at <= {wall:DateTime64(9, 'UTC')}) AS newest, max(written_at) AS arrived
    FROM evaluation_records
)
