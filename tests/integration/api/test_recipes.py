"""The recipes of docs/analysts.md, each run as it is written, against a running server."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from datetime import timedelta
from pathlib import Path

import httpx
import polars as pl
import pytest

from api.config import ApiConfig
from storage.client import Store
from tests.support.facts import START

pytestmark = pytest.mark.integration

TEXT = (Path(__file__).parents[3] / "docs" / "analysts.md").read_text(encoding="utf-8")
WRITTEN = "http://127.0.0.1:8080"


def recipes(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_every_recipe_of_the_page_is_run_here() -> None:
    assert {language: len(recipes(language)) for language in ("sh", "python", "url", "sql")} == {
        "sh": 3,
        "python": 4,
        "url": 1,
        "sql": 1,
    }


def test_curl(address: str, store: Store) -> None:
    # of the student's five traces an evaluator failed the newest and passed the next
    judged = [
        {
            "trace_id": f"{number:032x}",
            "started_at": START - timedelta(hours=number),
            "mirror_role": "none",
            "metric": "eval_fail",
            "evaluator": "TaskCompletion",
            "n_verdicts": 1,
            "failed": number == 1,
            "computed_at": START,
        }
        for number in (1, 3)
    ]
    times = dict.fromkeys(("started_at", "computed_at"), pl.Datetime("ns", "UTC"))
    store.insert("trace_outcomes", pl.DataFrame(judged, schema_overrides=times))
    outputs = [
        subprocess.run(shlex.split(recipe.replace(WRITTEN, address)), capture_output=True, text=True, check=True).stdout
        for recipe in recipes("sh")
    ]
    assert [item["trace_id"] for item in json.loads(outputs[0])["items"]] == [f"{1:032x}"]
    assert outputs[1].startswith("bucket,route,cohort,")
    assert json.loads(outputs[2])["rows"] == [["refund", 5, 0.05]]


def test_python(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    declared = {"service": "support-agent", "baseline": "teacher", "candidate": "student"}
    httpx.put(f"{address}/api/v1/rollouts/refund-student", json=declared, timeout=30).raise_for_status()
    printed = []
    # a page as long as there may be, shorter here so that there are several
    written = [recipe.replace(WRITTEN, address) for recipe in recipes("python")]
    assert f'"limit": {ApiConfig().max_page_items}' in written[1]
    written[1] = written[1].replace('"limit": 1000', '"limit": 2')
    for recipe in written:
        exec(compile(recipe, "docs/analysts.md", "exec"), {})
        printed.append(capsys.readouterr().out)
    assert "student" in printed[0]
    assert printed[1] == "5 traces\n"
    # the student's only failure, and the teacher's last trace before it
    assert printed[2].split("\n")[0] == f"same cohort {1:032x} {2:032x}"
    # totals are of all traces, not of a page
    assert re.findall(r"│ (student|teacher) +│ +(\d+) │ +([\d.]+) │", printed[3]) == [
        ("student", "5", "0.050000000"),
        ("teacher", "5", "0.050000000"),
    ]
    assert "limit" not in written[3]


def test_grafana(address: str) -> None:
    url = recipes("url")[0].strip().replace(WRITTEN, address)
    # as Grafana writes its time range
    filled = url.replace("${__from:date:iso}", "2026-02-28T12:00:00.000Z").replace("${__to:date:iso}", "2026-03-01T13:00:00.000Z")
    assert httpx.get(filled).raise_for_status().json()["step_seconds"] == 3600
    answer = httpx.post(f"{address}/api/v1/sql", json={"query": recipes("sql")[0]}, timeout=30).raise_for_status().json()
    assert [column["name"] for column in answer["columns"]] == ["time", "cohort", "error_rate"]
    assert len(answer["rows"]) == 10
