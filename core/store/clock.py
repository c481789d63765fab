"""Time as the database tells it: whole milliseconds since 1970, UTC, from the one clock that all hosts share. How
long something takes on one host is measured there (core/store/README.md, "Time and ids").
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class now_ms(FunctionElement[int]):  # noqa: N801, it reads as the SQL function that it is
    """The time at which the statement began."""

    type = BigInteger()
    inherit_cache = True


@compiles(now_ms, "postgresql")
def _postgresql(_element: now_ms, _compiler: SQLCompiler, **_: Any) -> str:
    # clock_timestamp() cannot serve an index, and now() stands still within a transaction
    return "(extract(epoch from statement_timestamp()) * 1000)::bigint"


@compiles(now_ms, "sqlite")
def _sqlite(_element: now_ms, _compiler: SQLCompiler, **_: Any) -> str:
    # unixepoch('subsec') is silently NULL before SQLite 3.42
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)"


def rfc3339(ms: int) -> str:
    """The time as "2026-01-31T09:30:00.000Z"."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"
