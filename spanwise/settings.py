"""Every setting of the program, in one frozen tree, read from `spanwise.toml` and `SPANWISE_*` variables."""

from __future__ import annotations

import difflib
import logging
import os
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from alerts.config import AlertsConfig, RolloutConfig
from analytics.config import AnalyticsConfig, PriceConfig
from api.config import ApiConfig
from collector.config import CollectorConfig
from spanwise.logging import LogFormat
from storage.config import StorageConfig
from storage.errors import PermanentError

log = logging.getLogger(__name__)

_DEFAULT_FILE = Path("spanwise.toml")
_PREFIX, _NESTED = "SPANWISE_", "__"
# read elsewhere: the key commands send
_OTHER_VARIABLES = frozenset({"SPANWISE_API_KEY"})


class Role(StrEnum):
    """A room that a process runs."""

    COLLECTOR = "collector"
    ANALYTICS = "analytics"
    ALERTS = "alerts"
    API = "api"


class SettingsError(PermanentError):
    """A setting is missing or wrong; the message names it, its value and the fix."""


class Settings(BaseSettings):
    """The whole tree. Order: command line, then environment, then the file, then defaults."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter=_NESTED, frozen=True, extra="forbid", env_ignore_empty=True
    )

    data_dir: Path = Field(Path("spanwise-data"), description="directory of the embedded engine and of the spool")
    host: str = Field("127.0.0.1", description="address every port binds to; anything but loopback needs API keys")
    otlp_grpc_port: int = Field(4317, ge=0, le=65535, description="OTLP over gRPC; 0 asks the system for a free port")
    otlp_http_port: int = Field(4318, ge=0, le=65535, description="OTLP over HTTP; 0 asks the system for a free port")
    http_port: int = Field(8080, ge=0, le=65535, description="API and pages; 0 asks the system for a free port")
    job_interval: float = Field(60.0, gt=0, le=86400, description="seconds between two runs of the jobs and of the alerter")
    role: Annotated[tuple[Role, ...], NoDecode] = Field(tuple(Role), description="rooms this process runs, comma-separated")
    clock: Literal["wall", "event"] = Field(
        "wall", description="`event`: replayed history matures and is judged as it would have been when it happened"
    )
    clickhouse_url: SecretStr | None = Field(
        None, description="ClickHouse server, clickhouse://user:password@host:8123; empty: the engine inside this process"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe line that is logged")
    log_format: LogFormat = Field("auto", description="how lines are written; `auto`: text on a terminal, else JSON")
    rollout: tuple[RolloutConfig, ...] = Field((), description="declared rollouts: a baseline and a candidate route")
    price: tuple[PriceConfig, ...] = Field((), description="your own prices; they come before every other source")
    collector: CollectorConfig = Field(default_factory=CollectorConfig, description="receivers, spool, masking")
    analytics: AnalyticsConfig = Field(default_factory=AnalyticsConfig, description="jobs, evaluators, prices")
    alerts: AlertsConfig = Field(default_factory=AlertsConfig, description="where pages go, and when")
    api: ApiConfig = Field(default_factory=ApiConfig, description="limits and browser sessions")
    storage: StorageConfig = Field(default_factory=StorageConfig, description="retention, connection and cluster")

    @field_validator("role", mode="before")
    @classmethod
    def _split_roles(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _several_processes_need_a_server(self) -> Self:
        if self.clickhouse_url is None and set(self.role) != set(Role):
            raise ValueError("role: a process per role needs a ClickHouse server; set clickhouse_url, or leave role out")
        return self

    @model_validator(mode="after")
    def _a_rollout_is_declared_once(self) -> Self:
        for name, n in Counter(rollout.name for rollout in self.rollout).items():
            if n > 1:
                raise ValueError(f"rollout {name!r} is declared {n} times; give each [[rollout]] a name of its own")
        return self

    @model_validator(mode="after")
    def _found_rollouts_are_not_declared(self) -> Self:
        for rollout in self.rollout:
            if "discovered" in rollout.model_fields_set:
                raise ValueError(f"rollout {rollout.name!r}: discovered cannot be set; leave it out: it marks what traffic shows")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic-settings'
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _TomlSource(settings_cls)


class _TomlSource(TomlConfigSettingsSource):
    """The file given with `--config`, else `spanwise.toml` in the working directory if there is one."""

    path: Path | None = None

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls, toml_file=self.path or _DEFAULT_FILE)


def load(config: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """
    Build the settings.

    Args:
        config: a TOML file; None takes `spanwise.toml` of the working directory where it exists.
        overrides: values from the command line, by setting name; None entries are left out.

    Raises:
        SettingsError: names every wrong setting, its value, and what it must be.
    """
    if config is not None and not config.is_file():
        raise SettingsError(f"--config: no file {config}; create it, or leave --config out")
    _TomlSource.path = config
    _warn_of_unknown_variables(os.environ)
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(problem) for problem in error.errors())) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{config or _DEFAULT_FILE} is not TOML: {error}") from error
    except ValueError as error:  # the environment's JSON parser
        raise SettingsError(f"settings cannot be read: {error}") from error


def _warn_of_unknown_variables(environment: Mapping[str, str]) -> None:
    """A misspelt variable changes nothing; below a known section it stops the start, as in the file."""
    known = set(_variables(Settings)) | _OTHER_VARIABLES
    sections = tuple(f"{name}{_NESTED}" for name in known)
    for name in sorted(environment):
        if name.startswith(_PREFIX) and name not in known and not name.startswith(sections):
            nearest = difflib.get_close_matches(name, sorted(known), 1, 0)[0]
            log.warning("%s is no setting and changes nothing; the nearest is %s", name, nearest)


def _variables(section: type[BaseModel], prefix: str = _PREFIX) -> Iterator[str]:
    """The variable of every setting and of every section."""
    for name, field in section.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        yield variable
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _variables(field.annotation, f"{variable}{_NESTED}")


def _sentence(problem: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "settings"
    if problem["type"] == "extra_forbidden":
        return f"{where}: there is no such setting; `spanwise config` lists them all"
    text = str(problem["msg"]).removeprefix("Value error, ")
    if where == "settings":
        return text
    return f"{where}: {text[:1].lower()}{text[1:]}, got {problem['input']!r}"


def masked(section: BaseModel) -> dict[str, Any]:
    """The tree as JSON values with every secret shown as asterisks; for `spanwise config` and the settings page."""
    return section.model_dump(mode="json")
