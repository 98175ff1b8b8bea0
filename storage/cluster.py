"""
The schema on a ClickHouse cluster: the same statements, arranged as Replicated tables behind Distributed ones.

Two kinds of tables. Sharded ones lie as `NAME_local` on every shard, split by a key, and are read and written through the
Distributed table `NAME`. All others are small: every node keeps all of their rows, so they need no Distributed table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from storage.errors import PermanentError

_BY_TRACE = "cityHash64(trace_id)"
_BY_EVALUATION = "cityHash64(evaluation_id)"
_BY_SERIES = "cityHash64(service_name, metric, model_route, cohort)"

# What a table is split by. Rows that replace each other, and rows that are joined, must meet on one shard.
SHARD_KEYS = {
    "span_records": _BY_TRACE,
    "trace_times": _BY_TRACE,
    "touched_traces": _BY_TRACE,
    "response_spans": _BY_TRACE,
    "span_facts": _BY_TRACE,
    "trace_facts": _BY_TRACE,
    "trace_outcomes": _BY_TRACE,
    "touched_minutes": "cityHash64(minute)",
    "mirror_units": _BY_TRACE,
    "session_traces": _BY_TRACE,
    "evaluation_records": _BY_EVALUATION,
    "touched_evaluations": _BY_EVALUATION,
    "evaluation_targets": _BY_EVALUATION,
    "metric_minutes": _BY_SERIES,
    "metric_hours": _BY_SERIES,
    "metric_days": _BY_SERIES,
    "ingest_ledger": "cityHash64(source)",
    "quarantine": "cityHash64(quarantine_id)",
}
# Sent with every query: joins and sub-queries run where the rows are, inserts return when the shards have them.
SETTINGS: dict[str, str | int] = {"distributed_product_mode": "local", "distributed_foreground_insert": 1}

_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)\s*(\(.*\))\s*ENGINE = (\w*MergeTree)(?:\(([^)]*)\))?(.*)", re.DOTALL)
_TABLE_AS = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+) AS (\w+)\s*")
_FED_VIEW = re.compile(r"CREATE MATERIALIZED VIEW IF NOT EXISTS (\w+) TO (\w+) AS(.*)", re.DOTALL)
_VIEW = re.compile(r"CREATE (?:OR REPLACE )?VIEW (?:IF NOT EXISTS )?(\w+)(.*)", re.DOTALL)
_ALTER = re.compile(r"ALTER TABLE (\w+)(.*)", re.DOTALL)
_OF_COLUMNS = re.compile(r"\s*(ADD|DROP|MODIFY|RENAME|COMMENT) COLUMN\b")


class UnknownStatementError(PermanentError):
    """A schema file has a statement that nobody said how to arrange on a cluster."""


@dataclass(frozen=True)
class Cluster:
    """A named cluster. `on_cluster` false runs each statement on this node only; an engine without distributed DDL needs it."""

    name: str
    on_cluster: bool = True

    @property
    def _everywhere(self) -> str:
        return f" ON CLUSTER `{self.name}`" if self.on_cluster else ""

    def target(self, table: str) -> str:
        """What an ALTER of `table` names: the tables that hold the rows, on every node."""
        return f"`{local_name(table)}`{self._everywhere}"

    def arrange(self, statements: Iterable[str]) -> list[str]:
        """The statements of schema files, in order, as they run on the cluster."""
        bodies: dict[str, str] = {}
        arranged: list[str] = []
        for statement in statements:
            if copy := _TABLE_AS.fullmatch(statement):
                statement = bodies[copy[2]].replace(copy[2], copy[1], 1)
            if table := _TABLE.fullmatch(statement):
                bodies[table[1]] = statement
            arranged += self._arranged(statement)
        return arranged

    def _arranged(self, statement: str) -> list[str]:
        if match := _TABLE.fullmatch(statement):
            return self._table(*match.groups(default=""))
        if match := _FED_VIEW.fullmatch(statement):
            name, target, select = match.groups()
            return [
                f"CREATE MATERIALIZED VIEW IF NOT EXISTS {name}{self._everywhere} TO {local_name(target)} AS{_localised(select)}"
            ]
        if match := _VIEW.fullmatch(statement):
            return [f"CREATE OR REPLACE VIEW {match[1]}{self._everywhere}{match[2]}"]
        if match := _ALTER.fullmatch(statement):
            # columns are the door's too; settings, TTL and projections belong to where the rows lie
            names = [local_name(match[1]), *([match[1]] if _OF_COLUMNS.match(match[2]) else [])]
            holders = dict.fromkeys(names)
            return [f"ALTER TABLE {holder}{self._everywhere}{match[2]}" for holder in holders]
        raise UnknownStatementError(f"no arrangement for a cluster: {statement[:80]!r}")

    def _table(self, name: str, columns: str, engine: str, arguments: str, rest: str) -> list[str]:
        is_sharded = name in SHARD_KEYS
        path = "/clickhouse/tables/{shard}/{database}/{table}" if is_sharded else "/clickhouse/tables/all/{database}/{table}"
        replica = "{replica}" if is_sharded else "{shard}-{replica}"
        options = ", ".join([f"'{path}'", f"'{replica}'", *([arguments] if arguments else [])])
        holder = local_name(name)
        made = [f"CREATE TABLE IF NOT EXISTS {holder}{self._everywhere}\n{columns}\nENGINE = Replicated{engine}({options}){rest}"]
        if is_sharded:
            door = f"Distributed('{self.name}', currentDatabase(), '{holder}', {SHARD_KEYS[name]})"
            made.append(f"CREATE TABLE IF NOT EXISTS {name}{self._everywhere} AS {holder} ENGINE = {door}")
        return made


def local_name(table: str) -> str:
    """The table that holds a shard's rows."""
    return f"{table}_local" if table in SHARD_KEYS else table


def _localised(select: str) -> str:
    """What a materialized view reads is what was inserted on its own node."""
    return re.sub(r"\b(FROM|JOIN)(\s+)(\w+)", lambda match: f"{match[1]}{match[2]}{local_name(match[3])}", select)
