-- Every judgement, one row each, with the span or trace it turned out to be about ('' while the target has not been seen).

CREATE VIEW IF NOT EXISTS evaluations AS
SELECT
    record.evaluation_id AS evaluation_id,
    if(target.evaluation_id = '', record.target_trace_id, target.trace_id) AS trace_id,
    if(target.evaluation_id = '', record.target_span_id, target.span_id) AS span_id,
    record.target_scope AS target_scope,
    record.target_trace_id AS target_trace_id,
    record.target_span_id AS target_span_id,
    record.target_session_id AS target_session_id,
    record.target_response_id AS target_response_id,
    record.name AS name,
    record.score AS score,
    record.label AS label,
    record.passed AS passed,
    record.explanation AS explanation,
    record.annotator_kind AS annotator_kind,
    record.identifier AS identifier,
    record.evaluator_error AS evaluator_error,
    record.evaluator_version AS evaluator_version,
    record.sampling_rule AS sampling_rule,
    record.source_dialect AS source_dialect,
    record.source_form AS source_form,
    record.metadata AS metadata,
    record.evaluated_at AS evaluated_at,
    record.received_at AS received_at,
    record.written_at AS written_at
FROM
(
    SELECT
        evaluation_id, target_scope, target_trace_id, target_span_id, target_session_id, target_response_id, name, score, label,
        passed, explanation, annotator_kind, identifier, evaluator_error, evaluator_version, sampling_rule, source_dialect,
        source_form, metadata, evaluated_at, received_at, written_at
    FROM evaluation_records FINAL
) AS record
LEFT JOIN
(
    SELECT evaluation_id, trace_id, span_id FROM evaluation_targets FINAL
) AS target ON target.evaluation_id = record.evaluation_id;
