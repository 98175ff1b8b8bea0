"""How long rows stay: ClickHouse's own TTL drops old partitions; prompts and completions are stripped earlier."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from storage.client import Store
from storage.cluster import local_name
from storage.config import RetentionConfig
from storage.sql import load

log = structlog.get_logger(__name__)

# Keys that hold what people and models wrote; a pattern of ClickHouse's match(), on the whole key.
CONTENT_KEYS = (
    r"^(input|output)\.value$"
    r"|^gen_ai\.(input|output)\.messages$|^gen_ai\.system_instructions$|^gen_ai\.(prompt|completion)(\.\d+\..*)?$"
    r"|^gen_ai\.tool\.(call\.(arguments|result)|definitions)$|^gen_ai\.prompt\.variable\..*"
    r"|^llm\.(input_messages|output_messages|prompts|choices|tools)(\..*)?$|^llm\.(invocation_parameters|prompt_template\..*)$"
    r"|^(retrieval|reranker|embedding)\..*(document|content|text|vector|query|embeddings).*"
    r"|^ai\.(prompt.*|response\.(text|object|toolCalls|reasoning)|toolCall\.(args|result))$"
    r"|^traceloop\.(entity\.(input|output)|prompt\.template.*)$|^langfuse\.(observation|trace)\.(input|output)$"
    r"|^tool\.parameters$|^(exception\.stacktrace|gen_ai\.evaluation\.explanation)$"
)


@dataclass(frozen=True)
class _Rule:
    table: str
    column: str
    setting: str


_RULES = (
    _Rule("span_records", "received_at", "spans_days"),
    _Rule("evaluation_records", "received_at", "spans_days"),
    _Rule("trace_times", "received_date", "spans_days"),
    _Rule("response_spans", "received_date", "spans_days"),
    _Rule("quarantine", "quarantined_at", "spans_days"),
    _Rule("span_facts", "computed_at", "spans_days"),
    _Rule("evaluation_targets", "computed_at", "spans_days"),
    _Rule("trace_facts", "received_at", "facts_days"),
    _Rule("trace_outcomes", "computed_at", "facts_days"),
    _Rule("session_traces", "computed_at", "facts_days"),
    _Rule("mirror_units", "computed_at", "facts_days"),
    _Rule("metric_minutes", "computed_at", "minutes_days"),
    _Rule("metric_hours", "computed_at", "hours_days"),
    _Rule("metric_days", "computed_at", "days_days"),
    _Rule("ingest_ledger", "minute", "hours_days"),
)


def apply(store: Store, config: RetentionConfig) -> list[str]:
    """Set the TTL of every table as configured; returns the tables whose TTL changed. Cheap when nothing did."""
    changed = []
    for rule in _RULES:
        days: int = getattr(config, rule.setting)
        wanted = f"toDateTime({rule.column}) + toIntervalDay({days})" if days else ""
        if _ttl(store, rule.table) == wanted:
            continue
        if wanted:
            store.alter(rule.table, f"MODIFY TTL {wanted}", settings={"materialize_ttl_after_modify": 0})
        else:
            store.alter(rule.table, "REMOVE TTL")
        changed.append(rule.table)
        log.debug("retention_set", table=rule.table, days=days)
    return changed


def strip_content(store: Store, config: RetentionConfig) -> int:
    """
    Drop prompts, completions and tool payloads from spans older than `content_days`; the rest of each span stays.

    Returns:
        How many daily partitions were rewritten. One that has no content left is not touched again.
    """
    if not config.content_days or (config.spans_days and config.content_days >= config.spans_days):
        return 0
    parameters = {"keys": CONTENT_KEYS, "days": config.content_days}
    partitions = store.frame(load("content_partitions"), parameters)["partition"].to_list()
    for partition in partitions:
        store.alter("span_records", load("strip_content"), parameters | {"partition": partition}, {"mutations_sync": 2})
        log.info("content_stripped", partition=partition)
    return len(partitions)


def enforce(store: Store) -> None:
    """Drop what has expired now instead of at the next merge."""
    for rule in _RULES:
        if _ttl(store, rule.table):
            store.alter(rule.table, "MATERIALIZE TTL", settings={"mutations_sync": 2})


def _ttl(store: Store, table: str) -> str:
    holder = local_name(table) if store.cluster else table
    ttl: str = store.frame(load("table_ttl"), {"database": store.database, "table": holder})["ttl"].item()
    return ttl
