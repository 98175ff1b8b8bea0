"""What the documentation shows works as shown."""

from __future__ import annotations

import re
import time
import tomllib
from pathlib import Path

from alerts.config import AlertsConfig
from alerts.notify.webhook import payload, sign
from alerts.templates import Templates
from tests.support.incidents import make_message

DOCS = Path(__file__).parents[3] / "docs"


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)


def test_the_ten_lines_verify_a_signature() -> None:
    [code] = blocks("alerting.md", "python")
    names: dict[str, object] = {}
    exec(code, names)
    is_genuine = names["is_genuine"]
    assert callable(is_genuine)
    timestamp, body = str(int(time.time())), b'{"version":1}'
    headers = {"Spanwise-Timestamp": timestamp, "Spanwise-Signature": sign(b"s3cret", timestamp, body)}
    assert is_genuine(b"s3cret", headers, body)
    assert not is_genuine(b"s3cret", headers, body + b" ")
    assert not is_genuine(b"another", headers, body)
    old = str(int(time.time()) - 600)
    assert not is_genuine(b"s3cret", {"Spanwise-Timestamp": old, "Spanwise-Signature": sign(b"s3cret", old, body)}, body)


def test_the_settings_shown_are_accepted() -> None:
    for text in blocks("alerting.md", "toml"):
        AlertsConfig.model_validate(tomllib.loads(text)["alerts"])


def test_the_webhooks_fields_are_those_documented() -> None:
    [example] = blocks("alerting.md", "json")
    sent = payload(make_message(), Templates())
    fields = {*sent, *sent["alert"], *sent["alert"]["streams"][0], *sent["alert"]["exemplars"][0]}
    assert fields == set(re.findall(r'"([a-z_]+)":', example))
