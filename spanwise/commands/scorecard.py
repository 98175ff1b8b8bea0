"""`spanwise scorecard`: one rollout as terminal tables, ranges before points."""

from __future__ import annotations

import json
from collections import Counter
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

_STATES = {
    "paged": "[red]✗ pages[/]",
    "suspected": "[yellow]! suspected[/]",
    "no_harm_seen": "no harm seen",
    "collecting": "collecting",
}

_COUNTED = {"paged": "paging", "suspected": "suspected", "no_harm_seen": "no harm seen", "collecting": "collecting"}
_URGENCY = {"paged": 0, "suspected": 1}


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
    console.print(streams(card["rows"], console.width) if card["rows"] else "no metric has data yet")
    if card["cost"] is not None:
        console.print(_costs(card["cost"]))
    for heading, sentences in (
        ("guards", [guard["sentence"] for guard in card["guards"] if guard["is_active"]]),
        ("not known", [_unknown(unknown) for unknown in card["unknown"]]),
    ):
        for sentence in sentences:
            console.print(f"{heading}: {sentence}", markup=False)
    console.print(f"{rollout}: {_summary(verdict, card['rows'])}", markup=False)


def _summary(verdict: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """What a long table scrolled away."""
    counts = Counter(row["state"] for row in rows)
    states = ", ".join(f"{counts[state]} {text}" for state, text in _COUNTED.items() if counts[state])
    return f"{verdict['kind'].replace('_', ' ')}, gate {verdict['gate']}; streams: {states or 'none yet'}"


def _unknown(unknown: dict[str, Any]) -> str:
    name = unknown["evaluator"] or unknown["metric"]
    where = "all cohorts" if unknown["cohort"] == "*" else unknown["cohort"]
    return f"{name} in {where}: {unknown['sentence']}" if name else str(unknown["sentence"])


def streams(rows: list[dict[str, Any]], width: int) -> Table:
    """One row per metric and cohort; in a narrow terminal without the estimate and how many each arm has."""
    title = "quality and operations; + is harm"
    state = Column("state", no_wrap=True)
    if is_wide := width >= WIDE:
        arms = right("estimate, pp"), right("baseline"), right("candidate")
        table = Table("metric", "cohort", right("range, pp"), *arms, state, title=title)
    else:
        names = Column("metric", overflow="fold"), Column("cohort", overflow="fold")
        table = narrow(*names, right("range, pp"), right("baseline"), right("candidate"), state, title=title)
    # harm first: nobody looks for it among a hundred rows
    for row in sorted(rows, key=lambda row: _URGENCY.get(row["state"], len(_URGENCY))):
        arms_shown = [_arm(row[arm], with_count=is_wide) for arm in ("baseline", "candidate")]
        table.add_row(
            escape(row["evaluator"] or row["metric"]),
            _cohort(row["cohort"]),
            _range(row["interval"], 100, "+.1f"),
            *([_number(row["difference"], 100, "+.1f")] if is_wide else []),
            *arms_shown,
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


def _arm(arm: dict[str, Any], *, with_count: bool) -> str:
    rate = _number(arm["rate"], 100, ".1f") + (" %" if arm["rate"] is not None else "")
    return f"{rate} of {arm['n_units']:,}" if with_count else rate


def _number(value: float | None, scale: float, form: str) -> str:
    return "–" if value is None else format(scale * value, form)


def _range(interval: dict[str, float] | None, scale: float, form: str) -> str:
    if interval is None:
        return "collecting"
    return f"{format(scale * interval['low'], form)} to {format(scale * interval['high'], form)}"
