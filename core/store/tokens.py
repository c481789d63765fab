"""Tokens: made, found by their secret, listed, limited, revoked, given another secret. Of a secret only its SHA-256 is
kept. What a browser has in its place is the concern of `sessions`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, Update, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import BallastError
from core.store import turns
from core.store.clock import now_ms
from core.store.tables import AnyRow, sessions, tokens
from core.tokens import Scope, new_secret, sha256_of

DAY_MS = 24 * 3_600_000
_USED_ROUNDED_MS = 60_000  # so that reading writes once a minute at most


class NoSuchToken(BallastError):
    """No token has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no token {name}: `ballast token list` says which there are")


class TokenExists(BallastError):
    """A name is given once: it is the owner of what was made with it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a token {name} already, or was: `ballast token rotate {name}` gives it another secret"
        )


class Quotas(NamedTuple):
    """How much one may have; None: as much as they like."""

    max_queued: int | None = None  # experiments that wait
    max_running: int | None = None  # experiments that run at once
    per_minute: int | None = None  # requests


UNLIMITED = Quotas()


@dataclass(frozen=True, slots=True)
class Token:
    id: int
    name: str
    sha256: str
    scope: Scope
    created_ms: int
    expires_ms: int | None
    used_ms: int | None
    revoked_ms: int | None
    quotas: Quotas
    valid: bool  # neither revoked nor expired
    use_is_old: bool  # by more than a minute, or was never


def create(tx: Connection, name: str, scope: Scope, days: int | None = None, quotas: Quotas = UNLIMITED) -> str:
    """The secret of a new token. Raises TokenExists."""
    secret = new_secret()
    insert = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    values = {"name": name, "sha256": sha256_of(secret), "scope": scope, "created_ms": now_ms(), **quotas._asdict()}
    new = insert(tokens).values(**values, expires_ms=None if days is None else now_ms() + days * DAY_MS)
    if tx.execute(new.on_conflict_do_nothing(index_elements=[tokens.c.name]).returning(tokens.c.id)).first() is None:
        raise TokenExists(name)
    turns.remember(tx, name)  # now, so that two first submissions need not wait for each other
    return secret


def rotate(tx: Connection, name: str, days: int | None = None) -> str:
    """Another secret for a token, valid for `days`, or unless said for as long as the old one was from its beginning;
    that is worth nothing from now on, nor are its sessions, and the token is no longer revoked. Its quotas stay. Raises
    NoSuchToken."""
    secret = new_secret()
    length = tokens.c.expires_ms - tokens.c.created_ms if days is None else days * DAY_MS
    changed = {"sha256": sha256_of(secret), "revoked_ms": None, "used_ms": None, "created_ms": now_ms()}
    _change(tx, name, update(tokens).values(**changed, expires_ms=now_ms() + length))
    _end_sessions(tx, name)
    return secret


def revoke(tx: Connection, name: str) -> None:
    """It is worth nothing from now on, nor are its sessions. What was made with it stays. Raises NoSuchToken."""
    _change(tx, name, update(tokens).values(revoked_ms=func.coalesce(tokens.c.revoked_ms, now_ms())))
    _end_sessions(tx, name)


def limit(tx: Connection, name: str, changed: Mapping[str, int | None]) -> Quotas:
    """Other quotas, by their names; what waits or runs already stays. Returns all of them. Raises NoSuchToken."""
    if changed:
        _change(tx, name, update(tokens).values(changed))
    return named(tx, name).quotas


def everyone(tx: Connection) -> list[Token]:
    """All tokens, by name."""
    return [_token(row) for row in tx.execute(_tokens().order_by(tokens.c.name))]


def named(tx: Connection, name: str) -> Token:
    """Raises NoSuchToken."""
    row = tx.execute(_tokens().where(tokens.c.name == name)).one_or_none()
    if row is None:
        raise NoSuchToken(name)
    return _token(row)


def exist(tx: Connection) -> bool:
    """Whether there is one that is valid."""
    return any(token.valid for token in everyone(tx))


def find(tx: Connection, secret: str) -> Token | None:
    """The token with this secret, valid or not. The database compares hashes, whose timing says nothing of secrets."""
    return _found(tx, _tokens().where(tokens.c.sha256 == sha256_of(secret)))


def of_session(tx: Connection, secret: str) -> Token | None:
    """The token, valid or not, whose holder signed in with it, and has been given this secret for it."""
    signed_in = (sessions.c.sha256 == sha256_of(secret)) & (sessions.c.expires_ms > now_ms())
    return _found(tx, _tokens().join(sessions, sessions.c.token_id == tokens.c.id).where(signed_in))


def note_use(tx: Connection, token: Token) -> None:
    """Unless it has another secret by now."""
    tx.execute(update(tokens).where(tokens.c.sha256 == token.sha256).values(used_ms=now_ms()))


def _found(tx: Connection, query: Select[Any]) -> Token | None:
    row = tx.execute(query).one_or_none()
    return None if row is None else _token(row)


def _tokens() -> Select[Any]:
    is_over = or_(tokens.c.revoked_ms.is_not(None), tokens.c.expires_ms <= now_ms())
    use_is_old = or_(tokens.c.used_ms.is_(None), tokens.c.used_ms < now_ms() - _USED_ROUNDED_MS)
    return select(tokens, is_over.label("is_over"), use_is_old.label("use_is_old"))


def _token(row: AnyRow) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        sha256=row.sha256,
        scope=Scope(row.scope),
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        used_ms=row.used_ms,
        revoked_ms=row.revoked_ms,
        quotas=Quotas(row.max_queued, row.max_running, row.per_minute),
        valid=not row.is_over,
        use_is_old=bool(row.use_is_old),
    )


def _change(tx: Connection, name: str, change: Update) -> None:
    if not tx.execute(change.where(tokens.c.name == name)).rowcount:
        raise NoSuchToken(name)


def _end_sessions(tx: Connection, name: str) -> None:
    tx.execute(delete(sessions).where(sessions.c.token_id.in_(select(tokens.c.id).where(tokens.c.name == name))))
