"""What is missing, strange or late in the data of a window, as tables by name: the page and the API give the same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

import polars as pl

from api.times import Window
from collector.attributes import FIELDS, MEMBERS, METADATA_DOCUMENTS, METADATA_PREFIXES, RAW_USAGE_DOCUMENTS
from collector.content import CONTENT_KEYS
from storage import quality, troubles
from storage.client import Store

# Attributes that are read as a family (messages by index, parameters), or belong to another convention than ours.
_FAMILIES = (
    "llm.input_messages.",
    "llm.output_messages.",
    "gen_ai.prompt.",
    "gen_ai.completion.",
    "http.",
    "server.",
    "code.",
    "thread.",
)


class Report(StrEnum):
    """The tables; their names are the fields of `GET /api/v1/quality`."""

    COVERAGE = "coverage"
    UNPRICED_MODELS = "unpriced_models"
    UNMAPPED_ATTRIBUTES = "unmapped_attributes"
    QUALITY_FLAGS = "quality_flags"
    LATENESS = "lateness"
    UNATTACHED_EVALUATIONS = "unattached_evaluations"
    POISONOUS_TRACES = "poisonous_traces"
    ROLLOUT_TROUBLES = "rollout_troubles"


def read_report(store: Store, report: Report, window: Window) -> pl.DataFrame:
    """One table; see the function of `storage.quality` or `storage.troubles` for its columns."""
    return _READERS[report](store, window)


def known_attributes() -> tuple[list[str], list[str]]:
    """Attribute keys the vocabulary reads, and beginnings of families it reads."""
    keys = {key.partition(MEMBERS)[0] if MEMBERS in key else key for field in FIELDS.values() for key in field.keys}
    # content is read by people, on the page of a trace; a pattern may also begin with its wildcard
    content = [pattern.partition("*")[0].partition("[")[0] for patterns in CONTENT_KEYS.values() for pattern in patterns]
    families = [*METADATA_PREFIXES, *_FAMILIES, *filter(None, content)]
    return sorted(keys | set(METADATA_DOCUMENTS) | set(RAW_USAGE_DOCUMENTS)), families


_READERS: Mapping[Report, Callable[[Store, Window], pl.DataFrame]] = {
    Report.COVERAGE: lambda store, window: quality.read_coverage(store, window.start, window.end),
    Report.UNPRICED_MODELS: lambda store, window: quality.read_unpriced_models(store, window.start, window.end),
    Report.UNMAPPED_ATTRIBUTES: lambda store, window: quality.read_unmapped_attributes(
        store, window.start, window.end, *known_attributes()
    ),
    Report.QUALITY_FLAGS: lambda store, window: quality.read_quality_flags(store, window.start, window.end),
    Report.LATENESS: lambda store, window: quality.read_lateness(store, window.start, window.end),
    Report.UNATTACHED_EVALUATIONS: lambda store, window: quality.read_unattached_evaluations(store, window.start, window.end),
    Report.POISONOUS_TRACES: lambda store, _window: quality.read_poisonous_traces(store),
    Report.ROLLOUT_TROUBLES: lambda store, _window: troubles.read_trouble_rows(store),
}
