"""A real Prometheus reads the metrics, and the rules of the documentation fire on them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from alerts.exposition import DeliveryStatus, RolloutStatus, exposition
from alerts.verdict import Outcome, VerdictKind
from storage.troubles import Trouble, TroubleKind
from tests.support.peers import free_port, peer, until
from tests.support.rollout_story import AS_OF, ROLLOUT, scorecard, verdict

DOCS = Path(__file__).parents[3] / "docs"
RULES = DOCS / "prometheus-rules.yml"
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
pytestmark = [pytest.mark.integration, pytest.mark.skipif(PROMETHEUS is None, reason="no Prometheus on this machine")]

CONFIG = """
global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: spanwise
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def delivery_status() -> DeliveryStatus:
    alerts = pl.DataFrame({"subject_kind": ["rollout"], "subject": [ROLLOUT], "state": ["firing"], "n_alerts": [1]})
    deliveries = pl.DataFrame(
        {
            "channel": ['slack "ops"\n', "webhook hooks.example.com 12ab34cd"],
            "state": ["dead", "sent"],
            "n_deliveries": [1, 3],
            "n_attempts": [9, 4],
        }
    )
    return DeliveryStatus(alerts, deliveries, {"alertmanager am:9093": 2}, {ROLLOUT: 1})


def page() -> str:
    quiet = verdict(VerdictKind.NO_HARM_SEEN)
    others = [RolloutStatus(f"other-{gate}", replace(quiet, gate=gate), None) for gate in (Outcome.PASS, Outcome.UNDETERMINED)]
    troubles = [
        Trouble(ROLLOUT, TroubleKind.MALFORMED_ROWS, comparison, "cost", n, "", False, AS_OF)
        for comparison, n in (("a", 2), ("b", 3))
    ]
    stopped = Trouble("new", TroubleKind.STOPPED, "", "", 0, "settling: an error", False, AS_OF)
    known = [RolloutStatus(ROLLOUT, verdict(), scorecard(), troubles), *others, RolloutStatus("new", None, None, [stopped])]
    return exposition(known, delivery_status())


@contextmanager
def served(text: str) -> Iterator[int]:
    """`text` at /metrics."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_real_prometheus_scrapes_it_and_the_rules_fire(tmp_path: Path) -> None:
    assert PROMETHEUS is not None
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def query(expression: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{url}/api/v1/query", params={"query": expression}).raise_for_status().json()
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def firing() -> set[tuple[str, str]]:
        alerts = httpx.get(f"{url}/api/v1/alerts").raise_for_status().json()["data"]["alerts"]
        return {
            (a["labels"]["alertname"], a["labels"].get("cohort") or a["labels"].get("channel") or a["labels"]["rollout"])
            for a in alerts
            if a["state"] == "firing"
        }

    with served(page()) as target:
        (tmp_path / "prometheus.yml").write_text(CONFIG.format(rules=RULES, port=target))
        command = [
            PROMETHEUS,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with peer(command, f"{url}/-/ready", tmp_path / "prometheus.log"):
            until(lambda: query('up{job="spanwise"} == 1') != [], "the first scrape")
            expected = {
                ("SpanwiseCheaperButWorse", ROLLOUT),
                ("SpanwiseStreamPages", "regulated_answer"),
                ("SpanwiseDeadLetters", 'slack "ops"\n'),
            }
            until(lambda: expected <= firing(), f"rules to fire: {expected}")
            assert {name for name, _ in firing()} == {name for name, _ in expected}
            [ratio] = query('spanwise_cost_ratio{cohort="*"}')
            card = scorecard()
            assert card.cost is not None
            assert float(ratio["value"][1]) == card.cost.overall.ratio
            # what docs/gate.md gives Flagger, word for word: it halts below 1
            answers = {"refund-student": 0, "other-undetermined": 1, "other-pass": 2, "new": 0}
            for name, expected_value in answers.items():
                [answer] = query(flagger_query().replace("refund-student", name))
                assert float(answer["value"][1]) == expected_value


def flagger_query() -> str:
    text = (DOCS / "gate.md").read_text().split("  query: |\n", 1)[1].split("---", 1)[0]
    assert ROLLOUT in text
    return " ".join(text.split())


def test_promtool_has_nothing_to_say(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    checked = subprocess.run([PROMTOOL, "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    linted = subprocess.run([PROMTOOL, "check", "metrics"], input=page(), capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


# minutes at which the rules are asked, and series of a process in good health until then
AT = 85
HEALTHY = {
    'up{job="spanwise",instance="a"}': "1x100",
    'spanwise_up{instance="a"}': "1x100",
    'spanwise_spool_bytes{instance="a"}': "1x100",
    'spanwise_spool_limit_bytes{instance="a"}': "100x100",
    'spanwise_spool_oldest_seconds{instance="a"}': "59x100",
    'spanwise_ingest_items_total{instance="a",signal="traces",entry="pushed_back",reason=""}': "5x100",
    'spanwise_ingest_items_total{instance="a",signal="traces",entry="quarantined",reason=""}': "5x100",
    'spanwise_job_watermark_lag_seconds{instance="a",kind="rollup"}': "60x100",
    'spanwise_job_age_seconds{instance="a",kind="rollup"}': "60x100",
    'spanwise_job_failed{instance="a",kind="rollup"}': "0x100",
    # judged every minute, as of then; the test's clock begins at 0
    'spanwise_verdict_as_of_timestamp_seconds{instance="a",rollout="swap"}': "0+60x100",
}


@pytest.mark.parametrize(
    ("changed", "firing"),
    [
        ({}, set()),
        # one process of several, and all
        ({'up{job="spanwise",instance="b"}': "0x100"}, {"SpanwiseAbsent"}),
        (dict.fromkeys(HEALTHY, "_x100"), {"SpanwiseAbsent"}),
        ({"spanwise_up": "0x100"}, {"SpanwiseStoreAway"}),
        ({"spanwise_spool_bytes": "51x100"}, {"SpanwiseSpoolFilling"}),
        ({"spanwise_spool_oldest_seconds": "601x100"}, {"SpanwiseSpoolNotWritten"}),
        ({"pushed_back": "5x80 6x20"}, {"SpanwisePushedBack"}),
        # the first ever; told after the store was away meanwhile; rows of the ledger that expire; long ago
        ({"pushed_back": "_x81 1x20"}, {"SpanwisePushedBack"}),
        ({"pushed_back": "5x40 _x40 6x20", "spanwise_up": "1x40 0x40 1x20"}, {"SpanwisePushedBack"}),
        ({"pushed_back": "1000x80 6x20"}, set()),
        ({"pushed_back": "5x60 6x40"}, set()),
        ({"quarantined": "5x60 6x40"}, {"SpanwiseQuarantined"}),
        ({"quarantined": "_x60 6x40"}, {"SpanwiseQuarantined"}),
        ({"quarantined": "5x80 2x20"}, set()),
        ({"spanwise_job_watermark_lag_seconds": "901x100"}, {"SpanwiseJobBehind"}),
        ({"spanwise_job_age_seconds": "901x100"}, {"SpanwiseJobsStandStill"}),
        ({"spanwise_job_failed": "1x100"}, {"SpanwiseJobFailed"}),
        # not judged since minute 44, and since minute 46: 30 minutes and 10 for the rule
        ({"spanwise_verdict_as_of_timestamp_seconds": "0+60x44 2640x56"}, {"SpanwiseVerdictStale"}),
        ({"spanwise_verdict_as_of_timestamp_seconds": "0+60x46 2760x54"}, set()),
        # mended by the next run
        ({"spanwise_job_failed": "0x82 1x2 0x20"}, set()),
    ],
)
def test_rules_about_the_process_itself(tmp_path: Path, changed: dict[str, str], firing: set[str]) -> None:
    """`changed`: part of a series' name, its values."""
    assert PROMTOOL is not None
    series = dict(HEALTHY)
    for part, values in changed.items():
        named = [name for name in HEALTHY if name.startswith(f"{part}{{") or f'entry="{part}"' in name or name == part]
        series |= dict.fromkeys(named or [part], values)
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in firing]
    asked = {"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": f"{AT}m", "exp_samples": expected}
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "1m", "input_series": given, "promql_expr_test": [asked]}
    file = tmp_path / "test.yml"
    # JSON is YAML
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}), encoding="utf-8")
    done = subprocess.run([PROMTOOL, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_say_what_to_do_where_the_manual_says_it() -> None:
    manual = (DOCS / "operating.md").read_text(encoding="utf-8")
    told = re.findall(r"[Rr]unbooks?: ([^.)\"]+)", RULES.read_text(encoding="utf-8"))
    assert told
    assert [name for line in told for name in line.split("; ") if f"**{name}.**" not in manual] == []


def test_rollouts_in_trouble_are_seen() -> None:
    lines = page().splitlines()
    # 2 rows of one comparison and 3 of the next
    assert f'spanwise_malformed_rows{{metric="cost",rollout="{ROLLOUT}"}} 5.0' in lines
    assert 'spanwise_rollout_stopped{rollout="new"} 1.0' in lines
    assert f'spanwise_rollout_stopped{{rollout="{ROLLOUT}"}} 0.0' in lines
    assert f'spanwise_alerting_failures_total{{subject="{ROLLOUT}"}} 1.0' in lines


def test_unknown_is_absent_not_zero() -> None:
    known = verdict()
    card = scorecard()
    unknown = replace(card, rows=tuple(replace(row, difference=None, interval=None) for row in card.rows), cost=None)
    text = exposition([RolloutStatus(ROLLOUT, known, unknown)], delivery_status())
    assert "spanwise_difference{" not in text
    assert "spanwise_difference_low{" not in text
    assert "spanwise_cost_ratio{" not in text
    assert "spanwise_evidence_log10{" in text


def test_the_dashboard_asks_only_for_metrics_there_are() -> None:
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text())
    names = {line.split("{")[0].split(" ")[0] for line in page().splitlines() if line and not line.startswith("#")}
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert expressions
    for expression in expressions:
        words = set(expression.replace("(", " ").replace("{", " ").replace("[", " ").split())
        asked = {word for word in words if word.startswith("spanwise_")}
        assert asked
        assert asked <= names, asked - names
