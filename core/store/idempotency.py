"""Idempotency keys: what was answered to a request that made something, so that the same request again makes nothing.

A key is written in the transaction that makes what it answers for: both are there, or neither.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from core.store.clock import now_ms
from core.store.errors import KeyReused
from core.store.tables import idempotency_keys

KEPT_MS = 24 * 3_600_000

_DELETED_AT_ONCE = 100  # for each that is written: what a busy day has left goes too


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    route: str  # its path: the same key on another is another request
    key: str
    fingerprint: str  # SHA-256 of what else it says


def begin(tx: Connection, request: KeyedRequest) -> str | None:
    """What was answered to this request, or None where it is the first under its key, which is its own from now on. One
    that is in flight under the same key is waited for: if that fails, this is the first. Raises KeyReused."""
    insert = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    row = insert(idempotency_keys).values(
        route=request.route, key=request.key, fingerprint=request.fingerprint, created_ms=now_ms()
    )
    # Not DO NOTHING: this takes over an expired key, and lets nobody delete one that stands before it has been read.
    first = tx.execute(
        row.on_conflict_do_update(
            index_elements=[idempotency_keys.c.route, idempotency_keys.c.key],
            set_={"fingerprint": row.excluded.fingerprint, "answer": None, "created_ms": row.excluded.created_ms},
            where=_expired(),
        ).returning(idempotency_keys.c.key)
    ).one_or_none()
    if first is None:
        return _answer(tx, request, _is(request))
    delete_some_expired(tx)
    return None


def find(tx: Connection, request: KeyedRequest) -> str | None:
    """What was answered to this request, if it was; one in flight is not waited for. Raises KeyReused."""
    return _answer(tx, request, _is(request) & ~_expired())


def keep(tx: Connection, request: KeyedRequest, answer: str) -> None:
    """Keep for a day what is answered to a request that has begun."""
    tx.execute(update(idempotency_keys).where(_is(request)).values(answer=answer))


def _answer(tx: Connection, request: KeyedRequest, where: ColumnElement[bool]) -> str | None:
    keys = idempotency_keys.c
    row = tx.execute(select(keys.fingerprint, keys.answer).where(where)).one_or_none()
    if row is None:
        return None
    if row.fingerprint != request.fingerprint:
        raise KeyReused
    answer: str | None = row.answer
    return answer


def _is(request: KeyedRequest) -> ColumnElement[bool]:
    return (idempotency_keys.c.route == request.route) & (idempotency_keys.c.key == request.key)


def _expired() -> ColumnElement[bool]:
    return idempotency_keys.c.created_ms <= now_ms() - KEPT_MS


def count_expired(tx: Connection) -> int:
    return tx.execute(select(func.count()).select_from(idempotency_keys).where(_expired())).scalar_one()


def delete_some_expired(tx: Connection) -> int:
    """Returns how many: none, where none was left."""
    name = tuple_(idempotency_keys.c.route, idempotency_keys.c.key)
    # Those that nobody else is deleting or taking over: two that make something must not wait for each other here.
    some = (
        select(idempotency_keys.c.route, idempotency_keys.c.key)
        .where(_expired())
        .order_by(idempotency_keys.c.created_ms)
        .limit(_DELETED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    return tx.execute(delete(idempotency_keys).where(name.in_(some))).rowcount
