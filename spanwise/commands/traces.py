"""`spanwise traces`: search traces in the terminal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from spanwise.instance import api
from spanwise.settings import load
from spanwise.tables import WIDE, narrow, right

Config = Annotated[Path | None, typer.Option("--config", help="settings file; default: spanwise.toml where it exists")]
DataDir = Annotated[Path | None, typer.Option(help="data directory of the running instance")]
Url = Annotated[str | None, typer.Option(help="address of the API; default: the instance on the data directory")]

_NS_PER_SECOND = 1_000_000_000
_FLAGS = ("errored", "timed_out", "fell_back", "retried")


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(traces)


def traces(
    since: Annotated[str, typer.Option("--from", help="RFC 3339 or relative, such as -24h")] = "-24h",
    until: Annotated[str, typer.Option("--to", help="RFC 3339 or relative")] = "now",
    service: Annotated[str | None, typer.Option(help="service")] = None,
    route: Annotated[str | None, typer.Option(help="route first chosen")] = None,
    cohort: Annotated[str | None, typer.Option(help="cohort")] = None,
    user: Annotated[str | None, typer.Option(help="user id")] = None,
    session: Annotated[str | None, typer.Option(help="session id")] = None,
    failed: Annotated[str | None, typer.Option(help="metric that failed: eval_fail, thumbs_down, …")] = None,
    evaluator: Annotated[str | None, typer.Option(help="failed by this evaluator")] = None,
    errored: Annotated[bool, typer.Option("--errored", help="only traces whose answer was an error")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="at most this many")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="print the document instead of a table")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """List traces that match, newest first."""
    wanted = {
        "from": since, "to": until, "service": service, "route": route, "cohort": cohort, "user": user, "session": session,
        "failed": failed, "evaluator": evaluator, "errored": errored or None, "limit": limit,
    }  # fmt: skip
    with api(load(config, {"data_dir": data_dir}), url) as client:
        document = client.get(
            "/api/v1/traces", params={name: value for name, value in wanted.items() if value is not None}
        ).json()
    if as_json:
        print(json.dumps(document, indent=2))
        return
    console = Console()
    if not document["items"]:
        console.print("nothing matches")
        return
    console.print(table(document["items"], console.width))
    if document["next"]:
        console.print("there are more: take a longer --limit or a narrower question")


def table(items: list[dict[str, Any]], width: int) -> Table:
    """One row per trace, its id always whole; in a narrow terminal the words share a column, and times lack their year."""
    first = (Column("started", no_wrap=True), Column("trace", no_wrap=True), right("seconds"), right("USD"))
    if is_wide := width >= WIDE:
        shown = Table(*first, "service", "route", "cohort", "what happened")
    else:
        shown = narrow(*first, Column("what", overflow="fold"))
    for item in items:
        started = item["started_at"] if is_wide else item["started_at"][5:19].replace("T", " ")
        cost = item["cost_usd"]
        numbers = (f"{item['duration_ns'] / _NS_PER_SECOND:.2f}", "unknown" if cost is None else usd(float(cost)))
        flags = ", ".join(flag.replace("_", " ") for flag in _FLAGS if item[flag])
        words = [*(escape(item[name]) for name in ("service_name", "model_route", "cohort")), flags]
        shown.add_row(started, item["trace_id"], *numbers, *(words if is_wide else [", ".join(filter(None, words[1:]))]))
    return shown


def usd(cost: float) -> str:
    """Four decimals, and as many more as two digits of a small cost need: what costs something is never shown as 0."""
    decimals = 4 if cost == 0 else max(4, 1 - math.floor(math.log10(abs(cost))))
    return f"{cost:.{decimals}f}"
