"""
SQL for `gen_ai.evaluation.result` events as every SDK sends them: these are most evaluations, and never leave the engine.

An event is plain when it has no attribute but those of `PLAIN`, each of its usual type. Others are read by `genai.from_events`,
the twin that this must equal (tests/integration/collector/test_census.py).
"""

from __future__ import annotations

from collector import any_value, sqltext
from collector.evaluations.shapes import BY_NAME, MISSING
from storage.evaluations import EVALUATION_RECORDS, AnnotatorKind, SourceForm, TargetScope

_SCORE = "gen_ai.evaluation.score.value"
_TEXTS = {
    "name": ("gen_ai.evaluation.name",),
    "label": ("gen_ai.evaluation.score.label",),
    "explanation": ("gen_ai.evaluation.explanation",),
    "evaluator_version": ("rollout.evaluation.version", "gen_ai.evaluation.version"),
    "sampling_rule": ("rollout.evaluation.rule",),
}
PLAIN = (_SCORE, *(key for keys in _TEXTS.values() for key in keys))


def is_plain(keys: str, values: str) -> str:
    """Whether an event with these attributes (wire values) is plain."""
    tag = "ascii(v)"
    number = f"k = {sqltext.text(_SCORE)} AND {tag} IN ({any_value.DOUBLE}, {any_value.INT})"
    text = f"k IN {sqltext.tuple_of(PLAIN[1:])} AND {tag} = {any_value.STRING}"
    return f"arrayAll((k, v) -> ({number}) OR ({text}), {keys}, {values})"


def select(events: str) -> str:
    """Rows of `EVALUATION_RECORDS` from `events`, a SELECT of `decode.evaluation_events` all of which are plain."""
    said = {name: _first(keys) for name, keys in _TEXTS.items()}
    score = f"toFloat64OrNull(attributes[{sqltext.text(_SCORE)}])"
    spoken = sqltext.lookup("replaceAll(lower(name), '-', '_')", BY_NAME, sqltext.text(AnnotatorKind.UNKNOWN.value))
    columns = dict.fromkeys(EVALUATION_RECORDS, "''") | said
    columns |= {
        "target_scope": sqltext.text(TargetScope.SPAN.value),
        "target_trace_id": "trace_id",
        "target_span_id": "span_id",
        "name": f"if(empty({said['name']}), 'unnamed', {said['name']})",
        "score": f"if(isFinite({score}), {score}, NULL)",
        "passed": "NULL",
        "annotator_kind": spoken,
        "source_dialect": "multiIf(startsWith(scope_name, 'openlit'), 'olt', startsWith(scope_name, 'traceai_'), 'fi1', 'genai')",
        "source_form": sqltext.text(SourceForm.SPAN_EVENT.value),
        "metadata": "map()",
        "evaluated_at": "time",
        "received_at": "received_at",
    }
    listed = ",\n    ".join(f"{columns[name]} AS {name}" for name in EVALUATION_RECORDS)
    return f"SELECT\n    {listed}\nFROM (\n{events}\n)"


def _first(keys: tuple[str, ...]) -> str:
    """The first that is known; what means "not set" counts as ''."""
    known = [
        f"if(attributes[{sqltext.text(key)}] IN {sqltext.tuple_of(MISSING)}, '', attributes[{sqltext.text(key)}])" for key in keys
    ]
    return known[0] if len(known) == 1 else f"arrayFirst(t -> t != '', [{', '.join(known)}])"
