-- Merging a span costs more than writing it. A dozen parts of like size before they are merged, instead of five: what one insert a second
-- brings is rewritten four times instead of eight, and there are still fewer than thirty parts, for the more there are the sooner they merge.
ALTER TABLE span_records MODIFY SETTING merge_selector_base = 12;
ALTER TABLE trace_times MODIFY SETTING merge_selector_base = 12;
ALTER TABLE touched_traces MODIFY SETTING merge_selector_base = 12;
ALTER TABLE response_spans MODIFY SETTING merge_selector_base = 12;
ALTER TABLE evaluation_records MODIFY SETTING merge_selector_base = 12;
ALTER TABLE touched_evaluations MODIFY SETTING merge_selector_base = 12;
ALTER TABLE ingest_ledger MODIFY SETTING merge_selector_base = 12;

-- Level 2 takes a tenth off attributes, and a fifth off events in larger blocks. Level 3 would take twice that off attributes, but three to
-- four times as long where texts are.
ALTER TABLE span_records MODIFY COLUMN attributes Map(LowCardinality(String), String) CODEC(ZSTD(2));
ALTER TABLE span_records MODIFY COLUMN events
    Array(Tuple(time DateTime64(9, 'UTC'), name LowCardinality(String), attributes Map(LowCardinality(String), String))) CODEC(ZSTD(2));
ALTER TABLE span_records MODIFY COLUMN events MODIFY SETTING min_compress_block_size = 262144;
-- What hardly differs from span to span vanishes at level 3.
ALTER TABLE span_records MODIFY COLUMN resource_attributes Map(LowCardinality(String), String) CODEC(ZSTD(3));
ALTER TABLE span_records MODIFY COLUMN attribute_types Array(UInt8) CODEC(ZSTD(3));
