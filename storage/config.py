"""Settings of the store: how long rows are kept, and how a ClickHouse server is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RetentionConfig(BaseModel):
    """Days that rows are kept, counted from their arrival; 0 keeps them for ever."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spans_days: int = Field(30, ge=0, description="days that spans and evaluations are kept")
    content_days: int = Field(7, ge=0, description="days that prompts, completions and tool payloads are kept")
    facts_days: int = Field(90, ge=0, description="days that one-row-per-trace facts are kept")
    minutes_days: int = Field(90, ge=0, description="days that per-minute rollups are kept")
    hours_days: int = Field(400, ge=0, description="days that per-hour rollups are kept")
    days_days: int = Field(0, ge=0, description="days that per-day rollups are kept")


class StorageConfig(BaseModel):
    """The store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database: str = Field("spanwise", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="ClickHouse database of all tables")
    cluster: str = Field(
        "", pattern=r"^[A-Za-z0-9_-]*$", description="ClickHouse cluster: tables become Replicated and Distributed"
    )
    min_free_bytes: int = Field(
        256 << 20,
        ge=0,
        description="free space on the disk that the embedded engine leaves alone: it writes and merges nothing below, bytes",
    )
    connect_timeout_seconds: int = Field(10, ge=1, description="whole seconds to wait for a connection to the server")
    query_timeout_seconds: int = Field(300, ge=1, description="whole seconds to wait for an answer of the server")
    compression: Literal["lz4", "zstd", "none"] = Field(
        "lz4", description="of inserts and answers between here and the server; `none` where cores are scarcer than network"
    )
    ca_file: Path | None = Field(None, description="PEM authorities the server's certificate must come from; unset: the system's")
    certificate_file: Path | None = Field(None, description="PEM certificate shown to the server, where it asks for one")
    key_file: Path | None = Field(None, description="PEM private key of certificate_file")
    retention: RetentionConfig = Field(default_factory=RetentionConfig, description="how long rows are kept")
