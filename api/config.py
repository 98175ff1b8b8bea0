"""Settings of the HTTP side."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

MAX_RESULT_ROWS = 1_000_000
"""Rows of one query made for a request other than SQL: more buckets and groups than anybody reads."""


class ApiConfig(BaseModel):
    """Limits, sessions and transport of the API and the pages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    public_url: str = Field(
        "",
        description="address people reach the pages under (https://spanwise.example.com); empty: the request's own",
    )
    trusted_hosts: tuple[str, ...] = Field(
        (), description="Host headers answered besides localhost, loopback addresses and public_url's; `*` answers all"
    )
    tls_certificate_file: Path | None = Field(None, description="PEM certificate chain; with tls_key_file turns on HTTPS")
    tls_key_file: Path | None = Field(None, description="PEM private key of tls_certificate_file")
    session_secret: SecretStr | None = Field(
        None, description="signs browser sessions; unset: a fresh one at every start, so a restart signs everyone out"
    )
    session_hours: float = Field(12.0, gt=0, le=24 * 90, description="hours a browser session lasts")
    key_cache_seconds: float = Field(5.0, ge=0, le=300, description="seconds until a revoked key is refused everywhere")
    failures_per_minute: int = Field(20, ge=1, description="wrong keys one peer may send a minute before it is told to wait")
    max_request_bytes: int = Field(16 * 2**20, ge=1024, description="largest request body, bytes")
    max_page_items: int = Field(1000, ge=1, le=10_000, description="largest `limit` of a list")
    keep_seconds: float = Field(
        5.0,
        ge=0,
        le=60,
        description="seconds that pages, tables, series, scorecards and gates are kept for other readers, and up to six times "
        "as long while they are made anew beside the requests, or where they took long to make; 0 makes everything anew",
    )
    query_seconds: float = Field(20.0, gt=0, description="seconds any query made for a request may run")
    query_memory_bytes: int = Field(1 * 2**30, ge=2**24, description="memory any query made for a request may use, bytes")
    sql_seconds: float = Field(30.0, gt=0, description="seconds a POST /api/v1/sql query may run")
    sql_memory_bytes: int = Field(512 * 2**20, ge=2**24, description="memory a POST /api/v1/sql query may use, bytes")
    sql_max_rows: int = Field(100_000, ge=1, description="rows of a JSON or CSV answer of POST /api/v1/sql")
    sql_max_rows_arrow: int = Field(10_000_000, ge=1, description="rows of an Arrow or Parquet answer of POST /api/v1/sql")
    sql_max_result_bytes: int = Field(4 * 2**30, ge=2**20, description="uncompressed bytes of an answer of POST /api/v1/sql")
    sql_max_read_rows: int = Field(2_000_000_000, ge=1, description="rows a POST /api/v1/sql query may read")
    sql_concurrent: int = Field(4, ge=1, le=64, description="POST /api/v1/sql queries running at once; more are told to retry")

    def query_limits(self) -> dict[str, str]:
        """Engine settings that stop a query made for a request."""
        return {
            "max_execution_time": str(self.query_seconds),
            "timeout_overflow_mode": "throw",
            "max_memory_usage": str(self.query_memory_bytes),
            "max_result_rows": str(MAX_RESULT_ROWS),
            "result_overflow_mode": "throw",
            # readers ask much of little data: compiling an expression takes longer than interpreting it
            "compile_expressions": "0",
            "compile_aggregate_expressions": "0",
            "compile_sort_description": "0",
        }

    @model_validator(mode="after")
    def _both_tls_files(self) -> ApiConfig:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file go together: set both, or neither")
        return self
