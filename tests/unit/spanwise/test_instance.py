"""What a command says when the instance refuses its key: where a key is taken from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from spanwise.instance import problem

KEY = {"Authorization": "Bearer sw_1"}


@pytest.mark.parametrize(
    ("status", "headers", "document", "told"),
    [
        (401, {}, {"detail": "an API key is needed"}, "an API key is needed; put a key in SPANWISE_API_KEY"),
        (401, KEY, {"detail": "this API key is unknown or revoked"}, "unknown or revoked; check SPANWISE_API_KEY"),
        (403, KEY, {"detail": "this needs admin"}, "this needs admin; put such a key in SPANWISE_API_KEY"),
        (404, KEY, {"detail": "no rollout 'x'"}, "no rollout 'x'"),
        (502, KEY, ["a proxy"], "http://here/x answered 502"),
    ],
)
def test_a_refusal_says_what_to_do_about_the_key(status: int, headers: Mapping[str, str], document: Any, told: str) -> None:
    request = httpx.Request("GET", "http://here/x", headers=headers)
    assert told in problem(httpx.Response(status, json=document, request=request))
