"""
Judgements in the JSON that other products' own APIs take, as ours takes them.

Source: Langfuse `POST /api/public/scores`; Phoenix `POST /v1/span_annotations` and its siblings (arize-phoenix-client 3.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ANNOTATORS = {"EVAL": "model", "ANNOTATION": "human"}
_KEPT = ("environment", "configId", "queueId")


def as_score(item: Mapping[str, Any]) -> dict[str, Any]:
    """
    The fields of `collector.scores.Score` that an item fills; what is null is left out, what is not known stays for its errors.

    Langfuse: `dataType` says what `value` is; a boolean is a label, for `true` is no verdict before one knows whether the name is
    that of something good. Phoenix: `result` holds label, score and explanation.
    """
    score = {key: value for key, value in item.items() if value is not None}
    result = score.pop("result", None)
    if isinstance(result, Mapping):
        score = {key: value for key, value in result.items() if value is not None} | score
    elif result is not None:
        score["result"] = result
    return _from_langfuse(score) if "dataType" in score or score.get("source") in (*_ANNOTATORS, "API") else score


def _from_langfuse(score: dict[str, Any]) -> dict[str, Any]:
    data_type, source = score.pop("dataType", ""), score.pop("source", "")
    if source in _ANNOTATORS:
        score.setdefault("annotator_kind", _ANNOTATORS[source])
    value = score.get("value")
    said = {"data_type": data_type} if data_type else {}
    if data_type == "BOOLEAN" and value in (0, 1):
        score |= {"label": "true" if value else "false", "score": float(value)}
        del score["value"]
    elif data_type in ("CORRECTION", "TEXT") and isinstance(value, str):
        if comment := score.pop("comment", ""):
            said["comment"] = comment
        score["explanation"] = score.pop("value")
    said |= {key: str(score.pop(key)) for key in _KEPT if key in score}
    metadata = score.get("metadata", {})
    if said and isinstance(metadata, Mapping):
        score["metadata"] = {**metadata, **said}
    return score
