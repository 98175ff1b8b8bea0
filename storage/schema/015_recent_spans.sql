-- Jobs read what touched a trace, and the traces of a minute: parts that were merged before that are passed over, however full their hour is.
ALTER TABLE span_records ADD INDEX IF NOT EXISTS start_time_bounds start_time TYPE minmax GRANULARITY 1;

ALTER TABLE trace_facts ADD INDEX IF NOT EXISTS started_at_bounds started_at TYPE minmax GRANULARITY 1;

ALTER TABLE trace_outcomes ADD INDEX IF NOT EXISTS started_at_bounds started_at TYPE minmax GRANULARITY 1;
