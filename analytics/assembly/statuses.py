"""What became of a call: failed, timed out, refused before it cost anything, broken half-way."""

from __future__ import annotations

from enum import StrEnum

import polars as pl

_TIMEOUT = r"(?i)time[d_ -]?out|deadline[_ ]?exceeded|^(408|504|524)$"
_REFUSED = (
    r"(?i)rate_?limit|too_?many_?requests|resource_?exhausted|overloaded|internal_?server|service_?unavailable|bad_?gateway"
    r"|^(429|5\d\d)$"
)
_TIMEOUT_STATUSES = (408, 504, 524)


class Charge(StrEnum):
    """What a span adds to the bill of its trace."""

    NOTHING = ""
    USAGE = "usage"
    REFUSED = "refused"
    BROKEN = "broken"
    UNKNOWN = "unknown"


FAILED = pl.col("status").is_in(["error", "timeout"])
"""The span itself ended badly. Unset is success; a call the caller gave up is not a failure of the model."""

TIMED_OUT = (
    (pl.col("status") == "timeout")
    | (pl.col("error_type").str.contains(_TIMEOUT))
    | (FAILED & pl.col("http_status").is_in(_TIMEOUT_STATUSES).fill_null(False))
)
"""A try timed out here, possibly one that a later try inside the same span made good."""

WITHOUT_USAGE = (
    pl.when(TIMED_OUT | (pl.col("status") == "cancelled") | pl.col("finish_reasons").list.contains("error"))
    .then(pl.lit(Charge.BROKEN.value))
    .when(~FAILED)
    .then(pl.lit(Charge.UNKNOWN.value))
    .when(
        (pl.col("http_status") == 429).fill_null(False)
        | (pl.col("http_status") >= 500).fill_null(False)
        | (pl.col("http_status").is_null() & pl.col("error_type").str.contains(_REFUSED))
    )
    .then(pl.lit(Charge.REFUSED.value))
    .otherwise(pl.lit(Charge.BROKEN.value))
)
"""
Why a call has no usage: refused with 429 or 5xx (costs nothing), failed in another way (0 is a lower bound), or answered
without saying.
"""
