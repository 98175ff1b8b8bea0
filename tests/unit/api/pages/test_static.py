"""What is shipped is what it says it is, and templates hold no script or style of their own."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

import api
from api.pages.rendering import static_url, with_query

ROOM = Path(api.__file__).parent
VENDOR = ROOM / "static" / "vendor"
TEMPLATES = sorted((ROOM / "templates").glob("*.html"))


def test_vendored_files_are_the_ones_listed() -> None:
    listed = dict(
        re.findall(r"^\| `([^`]+)` \|.*`([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    shipped = {path.name for path in VENDOR.iterdir() if path.suffix in (".js", ".css")}
    assert set(listed) == shipped
    for name, digest in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_have_nothing_inline(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(
        r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|javascript:|https?://", text.replace("http://www.w3.org", "")
    )
    assert "| safe" not in text.replace("icons[name] | safe", "")


def test_the_address_of_a_file_changes_with_its_content() -> None:
    assert re.fullmatch(r"/static/spanwise\.css\?v=[0-9a-f]{10}", static_url("spanwise.css"))


def test_a_query_is_changed_without_losing_the_rest() -> None:
    assert with_query("/api/v1/traces?user=a%26b&limit=5", format="csv", limit="") == "/api/v1/traces?user=a%26b&format=csv"
