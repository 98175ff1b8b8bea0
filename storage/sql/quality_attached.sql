-- Which of some traces are there, and of which of some evaluations the target was found, however long ago.
SELECT trace_id AS id FROM trace_times WHERE trace_id IN {trace_ids:Array(String)}
UNION ALL
SELECT evaluation_id AS id FROM evaluation_targets FINAL WHERE evaluation_id IN {evaluation_ids:Array(String)} AND trace_id != ''
