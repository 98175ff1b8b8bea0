"""Settings of the collector: what it listens on, how it keeps what it took, how it writes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator


class SpoolConfig(BaseModel):
    """The durable queue between the receivers and the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    durability: Literal["fsync", "write"] = Field(
        default="fsync",
        description="acknowledge after fsync (survives power loss) or after write (survives a crash of this process only)",
    )
    max_bytes: int = Field(default=8 << 30, gt=0, description="size of the spool on disk at which receivers push back, bytes")
    min_free_bytes: int = Field(
        default=512 << 20,
        ge=0,
        description="free space on the disk below which receivers push back, bytes; more than `storage.min_free_bytes`, so that"
        " the store has room to take over what waits",
    )
    segment_bytes: int = Field(default=32 << 20, gt=0, description="size at which a segment is closed and written, bytes")
    segment_seconds: float = Field(default=1.0, gt=0, description="age at which a segment is closed and written, seconds")
    retry_delay_seconds: float = Field(
        default=1.0, gt=0, le=5, description="delay asked of an exporter that is pushed back, seconds"
    )
    absent_minutes: float = Field(
        default=60.0,
        gt=0,
        description="minutes without a word after which the spool of a vanished process no longer holds verdicts back",
    )


class FlushConfig(BaseModel):
    """How segments become rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    block_bytes: int = Field(
        default=8_000_000, gt=0, description="bytes of spans the engine parses at a time; bounds its memory, bytes"
    )
    insert_rows: int = Field(default=50_000, gt=0, description="spans at which an insert starts another part; bounds its memory")
    insert_bytes: int = Field(
        default=64 << 20,
        gt=0,
        description="bytes of decoded spans at which an insert starts another part; bounds its memory, bytes",
    )
    rest: float = Field(
        default=1.0,
        ge=0,
        description="pause after a flush, as a multiple of how long it took: small flushes cost a fixed half second",
    )
    parallel: int = Field(default=2, gt=0, description="segments written side by side while several wait; each takes memory")
    max_threads: int = Field(default=1, gt=0, description="threads one insert may use")
    backoff_seconds: float = Field(
        default=0.5, gt=0, description="first wait after the store failed; doubles up to backoff_max_seconds"
    )
    backoff_max_seconds: float = Field(
        default=15.0, gt=0, description="longest wait between attempts while the store fails, seconds"
    )
    drain_seconds: float = Field(
        default=20.0, ge=0, description="how long a stop waits for the spool to be written; the rest is replayed, seconds"
    )


class TlsConfig(BaseModel):
    """Certificates of the OTLP doors; without them they speak plain text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate_file: Path | None = Field(default=None, description="PEM certificate chain of the OTLP doors; needs key_file")
    key_file: Path | None = Field(default=None, description="PEM private key of the certificate")
    client_ca_file: Path | None = Field(
        default=None, description="PEM authorities that client certificates must come from; none asked when unset"
    )

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("tls.certificate_file and tls.key_file go together")
        if self.client_ca_file is not None and self.certificate_file is None:
            raise ValueError("tls.client_ca_file needs tls.certificate_file")
        return self


class ReceiverConfig(BaseModel):
    """The OTLP doors; their address is `host`, `otlp_grpc_port` and `otlp_http_port`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_request_bytes: int = Field(default=64 << 20, gt=0, description="largest request, as sent and after decompression, bytes")
    max_inflight_bytes: int = Field(
        default=256 << 20, gt=0, description="requests held in memory at once, bytes; more is pushed back"
    )
    workers: int = Field(default=16, gt=0, description="threads that handle requests, for each door")
    max_concurrent_streams: int = Field(default=256, gt=0, description="calls open at once on one gRPC connection")
    keepalive_seconds: float = Field(
        default=60.0, gt=0, description="silence on a gRPC connection after which the peer is pinged, seconds"
    )
    drain_seconds: float = Field(default=10.0, ge=0, description="how long a stop waits for open requests, seconds")
    cors_origins: tuple[str, ...] = Field(
        default=(), description="browser origins that may send OTLP/HTTP, such as https://app.example; none by default"
    )
    tls: TlsConfig = Field(default_factory=TlsConfig, description="certificates")


class MaskRule(BaseModel):
    """
    One thing to keep off the disk.

    A rule looks at attributes whose key matches `keys` or belongs to `content`, or at every text when neither is given.
    With `patterns` or `regexes` only what matches inside the text is replaced, without them the whole value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Literal["drop", "hash", "redact", "drop_item"] = Field(
        description="remove, replace by a keyed hash, replace by [redacted]; drop_item leaves the whole span or log record out"
    )
    keys: tuple[str, ...] = Field(default=(), description="attribute keys, * and ? as wildcards")
    content: tuple[Literal["prompts", "completions", "tools", "explanations"], ...] = Field(
        default=(), description="kinds of content, whichever SDK sent it"
    )
    patterns: tuple[Literal["email", "card", "phone"], ...] = Field(default=(), description="well-known patterns inside text")
    regexes: tuple[str, ...] = Field(default=(), description="your own patterns inside text, Python syntax")

    @field_validator("regexes")
    @classmethod
    def _compiles(cls, regexes: tuple[str, ...]) -> tuple[str, ...]:
        for regex in regexes:
            try:
                compiled = re.compile(regex)
            except re.error as error:
                raise ValueError(f"{regex!r} is not a regular expression: {error}") from error
            if compiled.match(""):
                raise ValueError(f"{regex!r} matches the empty text")
        return regexes

    @model_validator(mode="after")
    def _selects(self) -> Self:
        if not (self.keys or self.content or self.patterns or self.regexes):
            raise ValueError("a masking rule needs keys, content, patterns or regexes")
        return self


class MaskingConfig(BaseModel):
    """What never reaches the disk; applied in order, before anything is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[MaskRule, ...] = Field(default=(), description="rules, applied in order; none costs nothing")
    hash_key: SecretStr = Field(
        default=SecretStr(""), description="secret of the hash action; equal values hash alike while it stays the same"
    )

    @model_validator(mode="after")
    def _keyed(self) -> Self:
        if any(rule.action == "hash" for rule in self.rules) and not self.hash_key.get_secret_value():
            raise ValueError("masking rules that hash need masking.hash_key: a hash without a secret can be guessed")
        return self


class CollectorConfig(BaseModel):
    """The collector's section of the settings tree."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spool: SpoolConfig = Field(default=SpoolConfig(), description="durable queue")
    flush: FlushConfig = Field(default=FlushConfig(), description="writing to the store")
    receivers: ReceiverConfig = Field(default_factory=lambda: ReceiverConfig(), description="the OTLP doors")
    masking: MaskingConfig = Field(default_factory=lambda: MaskingConfig(), description="what never reaches the disk")
