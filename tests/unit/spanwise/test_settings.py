"""Settings come from one tree, in a known order, and say what is wrong with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from spanwise.settings import Role, Settings, SettingsError, load, masked


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str) -> Path:
    Path("spanwise.toml").write_text(text, encoding="utf-8")
    return Path("spanwise.toml")


def test_nothing_needs_to_be_set() -> None:
    settings = load()
    assert (settings.otlp_grpc_port, settings.otlp_http_port, settings.http_port) == (4317, 4318, 8080)
    assert settings.host == "127.0.0.1"
    assert set(settings.role) == set(Role)


def test_command_line_before_environment_before_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write("http_port = 1000\notlp_grpc_port = 1000\notlp_http_port = 1000\n")
    monkeypatch.setenv("SPANWISE_HTTP_PORT", "2000")
    monkeypatch.setenv("SPANWISE_OTLP_GRPC_PORT", "2000")
    settings = load(overrides={"http_port": 3000, "data_dir": None})
    assert (settings.http_port, settings.otlp_grpc_port, settings.otlp_http_port) == (3000, 2000, 1000)


def test_nested_settings_have_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANWISE_COLLECTOR__SPOOL__MAX_BYTES", "1000000")
    assert load().collector.spool.max_bytes == 1_000_000


def test_roles_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPANWISE_CLICKHOUSE_URL", "clickhouse://h:8123")
    monkeypatch.setenv("SPANWISE_ROLE", "collector, api")
    assert load().role == (Role.COLLECTOR, Role.API)


def test_the_example_of_the_design_is_understood() -> None:
    write(
        """
[[rollout]]
name = "refund-student"
service = "support-agent"
baseline = "teacher"
candidate = "student"
high_value_cohorts = ["regulated_answer"]
gates = { max_cost_ratio = 0.15, max_regression = 0.03, max_high_value_regression = 0.01 }

[[price]]
model = "llama-4-8b-distilled"
gpu_hour_usd = 2.10
concurrent_requests = 24

[alerts]
alertmanager_urls = ["http://alertmanager:9093"]
notify_urls = ["slack://tokenA/tokenB/tokenC"]
"""
    )
    settings = load()
    assert settings.rollout[0].gates.max_cost_ratio == 0.15
    assert settings.price[0].concurrent_requests == 24
    assert len(settings.alerts.alertmanager_urls) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("http_port = 99999", "http_port: input should be less than or equal to 65535, got 99999"),
        ("job_interval = 0", "job_interval: input should be greater than 0, got 0"),
        ('clock = "sundial"', "clock: input should be 'wall' or 'event', got 'sundial'"),
        ("htp_port = 1", "htp_port: there is no such setting"),
        ('role = "api"', "role: a process per role needs a ClickHouse server; set clickhouse_url"),
        ('[[rollout]]\nname = "a"\nservice = "s"\nbaseline = "x"\ncandidate = "x"', "rollout.0"),
        (
            '[[rollout]]\nname = "a"\nservice = "s"\nbaseline = "x"\ncandidate = "y"\ndiscovered = true',
            "rollout 'a': discovered cannot be set; leave it out",
        ),
        ("[collector.receivers]\ngrpc_port = 1", "collector.receivers.grpc_port: there is no such setting"),
        ("http_port = ", "spanwise.toml is not TOML"),
    ],
)
def test_a_wrong_setting_stops_with_its_name_value_and_fix(text: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(write(text))
    assert sentence in str(caught.value)


def test_several_wrong_settings_are_named_at_once() -> None:
    write("http_port = -1\njob_interval = -1\n")
    with pytest.raises(SettingsError) as caught:
        load()
    assert "http_port" in str(caught.value)
    assert "job_interval" in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"no file elsewhere\.toml"):
        load(Path("elsewhere.toml"))


def test_a_file_that_is_no_toml_is_named() -> None:
    write("http_port = = 1")
    with pytest.raises(SettingsError, match=r"^spanwise\.toml is not TOML: .*line 1"):
        load()
    Path("other.toml").write_text("[", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"^other\.toml is not TOML"):
        load(Path("other.toml"))


def test_a_rollout_is_declared_once() -> None:
    one = '[[rollout]]\nname = "refund"\nservice = "s"\nbaseline = "a"\ncandidate = "b"\n'
    write(one + one)
    with pytest.raises(SettingsError, match="rollout 'refund' is declared 2 times"):
        load()


def test_a_misspelt_variable_is_told_with_the_nearest(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("SPANWISE_HTTP_PRT", "1")
    monkeypatch.setenv("SPANWISE_COLECTOR__SPOOL__MAX_BYTES", "1")
    for fine in ("SPANWISE_API_KEY", "SPANWISE_HTTP_PORT", "SPANWISE_COLLECTOR__SPOOL__MAX_BYTES", "SPANWISE_API"):
        monkeypatch.setenv(fine, "{}" if fine == "SPANWISE_API" else "9999999")
    with contextlib.suppress(SettingsError):
        load()
    told = [record.getMessage() for record in caplog.records if "TEST" not in record.getMessage()]
    nothing = "is no setting and changes nothing; the nearest is"
    assert told == [
        f"SPANWISE_COLECTOR__SPOOL__MAX_BYTES {nothing} SPANWISE_COLLECTOR__SPOOL__MAX_BYTES",
        f"SPANWISE_HTTP_PRT {nothing} SPANWISE_HTTP_PORT",
    ]


def test_secrets_are_masked() -> None:
    settings = load(overrides={"clickhouse_url": "clickhouse://user:hunter2@host:8123"})
    assert "hunter2" not in str(masked(settings))
    assert "hunter2" not in repr(settings)


def every_field(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str | None]]:
    for name, field in model.model_fields.items():
        yield f"{path}{name}", field.description
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from every_field(field.annotation, f"{path}{name}.")


def test_every_setting_says_what_it_is() -> None:
    silent = [name for name, description in every_field(Settings) if not description]
    assert silent == []
