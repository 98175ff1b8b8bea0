-- Assembly reads what touched a trace lately: parts that were merged before that are passed over, however full their hour is.
ALTER TABLE span_records ADD INDEX IF NOT EXISTS start_time_bounds start_time TYPE minmax GRANULARITY 1;
