"""`spanwise scorecard`: one rollout as terminal tables, ranges before points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spanwise.instance import api
from spanwise.settings import load

Config = Annotated[Path | None, typer.Option("--config", help="settings file; default: spanwise.toml where it exists")]
DataDir = Annotated[Path | None, typer.Option(help="data directory of the running instance")]
Url = Annotated[str | None, typer.Option(help="address of the API; default: the instance on the data directory")]

_STATES = {
    "paged": "[red]✗ pages[/]",
    "suspected": "[yellow]! suspected[/]",
    "no_harm_seen": "no harm seen",
    "collecting": "collecting",
}


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(scorecard)


def scorecard(
    rollout: Annotated[str, typer.Argument(help="name of the rollout")],
    as_json: Annotated[bool, typer.Option("--json", help="print the document instead of tables")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    url: Url = None,
) -> None:
    """Show both arms per cohort and metric: difference, any-time range, counts, state; and what it costs."""
    with api(load(config, {"data_dir": data_dir}), url) as client:
        verdict = client.get(f"/api/v1/rollouts/{rollout}/verdict").json()
        card = client.get(f"/api/v1/rollouts/{rollout}/scorecard").json()
    if as_json:
        print(json.dumps(card, indent=2))
        return
    console = Console()
    console.print(f"[bold]{escape(rollout)}[/]: {verdict['kind'].replace('_', ' ')} as of {verdict['as_of']}")
    for reason in verdict["reasons"]:
        console.print(f"  {reason}", markup=False)
    console.print(_streams(card["rows"]))
    if card["cost"] is not None:
        console.print(_costs(card["cost"]))
    for heading, sentences in (
        ("guards", [guard["sentence"] for guard in card["guards"] if guard["is_active"]]),
        ("not known", [unknown["sentence"] for unknown in card["unknown"]]),
    ):
        for sentence in sentences:
            console.print(f"{heading}: {sentence}", markup=False)


def _streams(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="quality and operations; + is harm")
    for heading in ("metric", "cohort", "range, pp", "estimate, pp", "baseline", "candidate", "state"):
        table.add_column(heading, justify="left" if heading in ("metric", "cohort", "state") else "right")
    for row in rows:
        table.add_row(
            escape(row["evaluator"] or row["metric"]),
            _cohort(row["cohort"]),
            _range(row["interval"], 100, "+.1f"),
            _number(row["difference"], 100, "+.1f"),
            _arm(row["baseline"]),
            _arm(row["candidate"]),
            _STATES.get(row["state"], row["state"]),
        )
    return table


def _costs(cost: dict[str, Any]) -> Table:
    state = "certified below the target" if cost["certified"] else "not certified below the target"
    table = Table(title=f"cost, candidate over baseline: {state} {cost['target']:g}")
    for heading in ("cohort", "range", "ratio", "traces"):
        table.add_column(heading, justify="left" if heading == "cohort" else "right")
    for part in [cost["overall"], *cost["cohorts"]]:
        traces = f"{part['n_candidate']:,} / {part['n_baseline']:,}"
        table.add_row(_cohort(part["cohort"]), _range(part["interval"], 1, ".2f"), _number(part["ratio"], 1, ".2f"), traces)
    return table


def _cohort(name: str) -> str:
    return "[bold]all[/]" if name == "*" else escape(name or "(none)")


def _arm(arm: dict[str, Any]) -> str:
    rate = _number(arm["rate"], 100, ".1f")
    return f"{rate} % of {arm['n_units']:,}" if arm["rate"] is not None else f"{rate} of {arm['n_units']:,}"


def _number(value: float | None, scale: float, form: str) -> str:
    return "–" if value is None else format(scale * value, form)


def _range(interval: dict[str, float] | None, scale: float, form: str) -> str:
    if interval is None:
        return "collecting"
    return f"{format(scale * interval['low'], form)} to {format(scale * interval['high'], form)}"
