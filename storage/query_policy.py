"""
Which queries a stranger may run, decided on the engine's own syntax tree.

`readonly` alone is not enough: in read-only mode the engine still reads files (`file()` in an expression), writes them
(`INTO OUTFILE`), kills queries and shows every table. So a query is parsed by the engine (`parseQueryToJSON`), and
everything in the tree that is not known to be harmless is refused: kinds of node, functions, table functions, tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from storage.errors import PermanentError

PUBLIC_TABLES = frozenset(
    {
        "alert_events",
        "alerts",
        "comparisons",
        "deliveries",
        "evaluations",
        "ingest_ledger",
        "job_runs",
        "leases",
        "metric_days",
        "metric_hours",
        "metric_minutes",
        "poisonous_traces",
        "prices",
        "quarantine",
        "rollout_troubles",
        "rollouts",
        "schema_migrations",
        "settled_minutes",
        "silences",
        "spans",
        "spools",
        "streams",
        "trace_facts",
        "trace_outcomes",
        "verdicts",
    }
)
"""Tables and views anyone with the scope `read` may query. `api_keys` is not one of them."""

_TABLE_FUNCTIONS = frozenset(
    {"numbers", "numbers_mt", "zeros", "zeros_mt", "generateseries", "generate_series", "values", "view"}
)

# Kinds of node that only combine what they hold; whatever they hold is looked at as well.
_NODES = frozenset(
    {
        "ArrayJoin", "Asterisk", "ColumnsApplyTransformer", "ColumnsExceptTransformer", "ColumnsListMatcher",
        "ColumnsRegexpMatcher", "ColumnsReplaceTransformer", "ColumnsReplaceTransformerReplacement",
        "ColumnsTransformerList", "ExpressionList", "Function", "Identifier", "InterpolateElement", "Literal",
        "OrderByElement", "QualifiedAsterisk", "QualifiedColumnsListMatcher", "QualifiedColumnsRegexpMatcher",
        "QueryParameter", "SampleRatio", "SelectIntersectExceptQuery", "SelectQuery", "SelectWithUnionQuery", "Subquery",
        "TableExpression", "TableIdentifier", "TableJoin", "TablesInSelectQuery", "TablesInSelectQueryElement",
        "WindowDefinition", "WindowListElement", "WithElement",
    }
)  # fmt: skip

# Categories of `system.functions` that reach outside the query: files, network, the server's configuration and innards.
_CATEGORIES_REFUSED = frozenset(
    {"AI", "Dictionary", "Embedded Dictionary", "Internal", "Introspection", "Machine Learning", "Other"}
)

# The harmless ones of the category "Other".
_OTHER_ALLOWED = frozenset(
    {
        "bar", "byteSize", "countDigits", "defaultValueOfArgumentType", "defaultValueOfTypeName", "finalizeAggregation",
        "formatReadableDecimalSize", "formatReadableQuantity", "formatReadableSize", "formatReadableTimeDelta", "identity",
        "ignore", "isConstant", "materialize", "minSampleSizeContinuous", "minSampleSizeConversion", "neighbor",
        "parseReadableSize", "parseReadableSizeOrNull", "parseReadableSizeOrZero", "parseTimeDelta", "rowNumberInAllBlocks",
        "runningAccumulate", "runningDifference", "throwIf", "toColumnTypeName", "toTypeName", "transform", "variantElement",
        "variantType", "visibleWidth",
    }
)  # fmt: skip

# Names the parser makes up for syntax, which are in no list of functions.
_SYNTAX = frozenset({"lambda", "grouping", "exists", "casewithexpression"})

_MEMBERSHIP = frozenset(
    {
        prefix + name + suffix
        for prefix in ("", "global")
        for name in ("in", "notin", "nullin", "notnullin")
        for suffix in ("", "ignoreset")
    }
)

_Node = Mapping[str, Any]


class QueryRefusedError(PermanentError):
    """The query asks for something a read-only caller may not have."""


@dataclass(frozen=True)
class QueryPolicy:
    """What one database allows. Names are lower case where the engine ignores case."""

    database: str
    tables: frozenset[str]
    """Every table that exists in the database, public or not."""
    functions: frozenset[str]
    combinators: tuple[str, ...]
    """Suffixes of aggregate functions (`If`, `Array`, …), longest first."""

    def check(self, tree: _Node) -> None:
        """Raises `QueryRefusedError` naming the first thing that is not allowed."""
        if tree.get("type") != "SelectWithUnionQuery":
            raise QueryRefusedError(f"only SELECT is allowed, this is {_kind(tree)}")
        nodes = list(_nodes(tree))
        named = {str(node["name"]) for node in nodes if node["type"] == "WithElement"}
        aliases = {str(node["alias"]) for node in nodes if "alias" in node}
        table_functions = {id(node["table_function"]) for node in nodes if "table_function" in node}
        for node in nodes:
            self._check_node(node)
            match node["type"]:
                case "TableIdentifier":
                    self._check_table(node, named)
                case "Function" if id(node) in table_functions:
                    if str(node["name"]).lower() not in _TABLE_FUNCTIONS:
                        raise QueryRefusedError(f"table function {node['name']!r} is not allowed")
                case "Function":
                    self._check_function(node, named | aliases)

    def _check_node(self, node: _Node) -> None:
        if node["type"] not in _NODES:
            raise QueryRefusedError(f"{_kind(node)} is not allowed")
        if "out_file" in node:
            raise QueryRefusedError("INTO OUTFILE is not allowed; ask for a format with the Accept header")
        if "format_ast" in node:
            raise QueryRefusedError("FORMAT is not allowed; ask for a format with the Accept header")
        if "settings" in node:
            raise QueryRefusedError("SETTINGS is not allowed")
        if "Identifier" in str(node.get("param_type", "")):
            raise QueryRefusedError("a parameter cannot be an identifier")
        if node["type"] == "ColumnsApplyTransformer" and "func_name" in node:
            self._check_name(str(node["func_name"]))

    def _check_table(self, node: _Node, named: set[str]) -> None:
        parts = [str(part) for part in node.get("name_parts", [node["name"]])]
        if len(parts) == 2 and parts[0] == self.database:
            parts = parts[1:]
        # a CTE may hide behind its name only when no table has that name: outside the CTE's scope the name is the table's
        if len(parts) == 1 and (parts[0] in PUBLIC_TABLES or (parts[0] in named and parts[0] not in self.tables)):
            return
        raise QueryRefusedError(f"no table {'.'.join(parts)!r}; tables: {', '.join(sorted(PUBLIC_TABLES & self.tables))}")

    def _check_function(self, node: _Node, named: set[str]) -> None:
        name = str(node["name"])
        self._check_name(name)
        if name.lower() in _MEMBERSHIP:
            held = (node.get("arguments") or {}).get("children") or []
            # `x IN name` reads the table `name`, unless the query itself gives the name a meaning
            if len(held) == 2 and held[1].get("type") == "Identifier":
                self._check_table(held[1], named)

    def _check_name(self, name: str) -> None:
        if name.lower() in self.functions or name.lower() in _SYNTAX or self._is_combined(name):
            return
        raise QueryRefusedError(f"function {name!r} is not allowed")

    def _is_combined(self, name: str) -> bool:
        for suffix in self.combinators:
            base = name.removesuffix(suffix)
            if base and base != name and (base.lower() in self.functions or self._is_combined(base)):
                return True
        return False


def allowed_functions(rows: Iterator[Mapping[str, Any]]) -> frozenset[str]:
    """
    The harmless functions of an engine, lower case.

    Args:
        rows: of `system.functions`: `name`, `alias_to`, `category` ('' when it has none), `origin`, `is_aggregate`.
    """
    known = {str(row["name"]): row for row in rows}
    return frozenset(name.lower() for name, row in known.items() if _is_harmless(known.get(str(row["alias_to"]), row)))


def _is_harmless(row: Mapping[str, Any]) -> bool:
    if row["origin"] != "System":
        return False
    if row["name"] in _OTHER_ALLOWED:
        return True
    if row["is_aggregate"]:
        return row["name"] not in ("flameGraph", "aggThrow")
    return bool(row["category"]) and row["category"] not in _CATEGORIES_REFUSED


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every node of a tree, the root first. Literals hold values, not nodes."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, dict):
            if "type" in item:
                yield item
            if item.get("type") != "Literal":
                stack.extend(item.values())


def _kind(node: _Node) -> str:
    return str(node.get("type", "nothing")).removesuffix("Query") or "nothing"
