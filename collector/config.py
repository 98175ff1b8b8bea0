"""Settings of the collector: what it listens on, how it keeps what it took, how it writes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class SpoolConfig(BaseModel):
    """The durable queue between the receivers and the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    durability: Literal["fsync", "write"] = Field(
        "fsync",
        description="acknowledge after fsync (survives power loss) or after write (survives a crash of this process only)",
    )
    max_bytes: int = Field(default=8 << 30, gt=0, description="size of the spool on disk at which receivers push back, bytes")
    segment_bytes: int = Field(default=32 << 20, gt=0, description="size at which a segment is closed and written, bytes")
    segment_seconds: float = Field(default=1.0, gt=0, description="age at which a segment is closed and written, seconds")
    retry_delay_seconds: float = Field(
        default=1.0, gt=0, le=5, description="delay asked of an exporter that is pushed back, seconds"
    )


class FlushConfig(BaseModel):
    """How segments become rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    block_bytes: int = Field(
        default=8_000_000, gt=0, description="bytes of spans the engine parses at a time; bounds its memory, bytes"
    )
    max_threads: int = Field(default=2, gt=0, description="threads one insert may use")
    backoff_seconds: float = Field(
        default=0.5, gt=0, description="first wait after the store failed; doubles up to backoff_max_seconds"
    )
    backoff_max_seconds: float = Field(
        default=15.0, gt=0, description="longest wait between attempts while the store fails, seconds"
    )
    drain_seconds: float = Field(
        20.0, ge=0, description="how long a stop waits for the spool to be written; the rest is replayed, seconds"
    )


class CollectorConfig(BaseModel):
    """The collector's section of the settings tree."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spool: SpoolConfig = Field(default=SpoolConfig(), description="durable queue")
    flush: FlushConfig = Field(default=FlushConfig(), description="writing to the store")
