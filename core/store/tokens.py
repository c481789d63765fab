"""Tokens: made, found by their secret, listed, revoked, given another secret. Of a secret only its SHA-256 is kept."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Update, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import BallastError
from core.store import turns
from core.store.clock import now_ms
from core.store.tables import AnyRow, tokens
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


@dataclass(frozen=True, slots=True)
class Token:
    name: str
    sha256: str
    scope: Scope
    created_ms: int
    expires_ms: int | None
    used_ms: int | None
    revoked_ms: int | None
    valid: bool  # neither revoked nor expired
    use_is_old: bool  # by more than a minute, or was never


def create(tx: Connection, name: str, scope: Scope, days: int | None = None) -> str:
    """The secret of a new token. Raises TokenExists."""
    secret = new_secret()
    insert = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    values = {"name": name, "sha256": sha256_of(secret), "scope": scope, "created_ms": now_ms()}
    new = insert(tokens).values(**values, expires_ms=None if days is None else now_ms() + days * DAY_MS)
    if tx.execute(new.on_conflict_do_nothing(index_elements=[tokens.c.name]).returning(tokens.c.id)).first() is None:
        raise TokenExists(name)
    turns.remember(tx, name)  # now, so that two first submissions need not wait for each other
    return secret


def rotate(tx: Connection, name: str, days: int | None = None) -> str:
    """Another secret for a token, valid for `days`, or unless said for as long as the old one was from its beginning;
    that is worth nothing from now on, and the token is no longer revoked. Raises NoSuchToken."""
    secret = new_secret()
    length = tokens.c.expires_ms - tokens.c.created_ms if days is None else days * DAY_MS
    changed = {"sha256": sha256_of(secret), "revoked_ms": None, "used_ms": None, "created_ms": now_ms()}
    _change(tx, name, update(tokens).values(**changed, expires_ms=now_ms() + length))
    return secret


def revoke(tx: Connection, name: str) -> None:
    """It is worth nothing from now on. What was made with it stays. Raises NoSuchToken."""
    _change(tx, name, update(tokens).values(revoked_ms=func.coalesce(tokens.c.revoked_ms, now_ms())))


def everyone(tx: Connection) -> list[Token]:
    """All tokens, by name."""
    return [_token(row) for row in tx.execute(_tokens().order_by(tokens.c.name))]


def exist(tx: Connection) -> bool:
    """Whether there is one that is valid."""
    return any(token.valid for token in everyone(tx))


def find(tx: Connection, secret: str) -> Token | None:
    """The token with this secret, valid or not. The database compares hashes, whose timing says nothing of secrets."""
    row = tx.execute(_tokens().where(tokens.c.sha256 == sha256_of(secret))).one_or_none()
    return None if row is None else _token(row)


def note_use(tx: Connection, token: Token) -> None:
    """Unless it has another secret by now."""
    tx.execute(update(tokens).where(tokens.c.sha256 == token.sha256).values(used_ms=now_ms()))


def _tokens() -> Any:
    is_over = or_(tokens.c.revoked_ms.is_not(None), tokens.c.expires_ms <= now_ms())
    use_is_old = or_(tokens.c.used_ms.is_(None), tokens.c.used_ms < now_ms() - _USED_ROUNDED_MS)
    return select(tokens, is_over.label("is_over"), use_is_old.label("use_is_old"))


def _token(row: AnyRow) -> Token:
    return Token(
        name=row.name,
        sha256=row.sha256,
        scope=Scope(row.scope),
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        used_ms=row.used_ms,
        revoked_ms=row.revoked_ms,
        valid=not row.is_over,
        use_is_old=bool(row.use_is_old),
    )


def _change(tx: Connection, name: str, change: Update) -> None:
    if not tx.execute(change.where(tokens.c.name == name)).rowcount:
        raise NoSuchToken(name)
