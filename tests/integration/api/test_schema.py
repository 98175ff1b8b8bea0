"""Schemathesis against a running server: requests generated for every operation, answers as described, never a 500."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 4


def test_every_operation_answers_as_described(address: str) -> None:
    schema = schemathesis.openapi.from_url(f"{address}/api/v1/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    # from the first key on everything asks for one: that is the authorisation matrix's business
    tried = [operation for operation in operations if (operation.method, operation.path) != ("post", "/api/v1/keys")]
    assert len(tried) > 30
    for operation in tried:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def answers(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS)

        answers()


def test_every_operation_has_a_summary_and_an_example(address: str) -> None:
    document = schemathesis.openapi.from_url(f"{address}/api/v1/openapi.json").raw_schema
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            told = str(operation) + str(document["components"]["schemas"]) if "requestBody" in operation else str(operation)
            assert "example" in told or "format': 'binary'" in told, (method, path)
