"""Sessions of the sign-in page: a browser holds a secret of its own in the place of its token, for a week at most.

Of it only the SHA-256 is kept, so that whoever reads the database can forge none. They end with the token's secret.
"""

from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select

from core.store.clock import now_ms
from core.store.tables import sessions, tokens
from core.store.tokens import DAY_MS, Token
from core.tokens import new_session_secret, sha256_of

DAYS = 7


class NewSession(NamedTuple):
    secret: str
    seconds: int  # for which it is valid


def begin(tx: Connection, token: Token) -> NewSession | None:
    """A new session, which ends before its token does; None where that has another secret by now, or was revoked. Those
    that are over are forgotten."""
    still = (tokens.c.id == token.id, tokens.c.sha256 == token.sha256, tokens.c.revoked_ms.is_(None))
    # Locked first, as by whoever gives it another secret, and ends its sessions.
    if tx.execute(select(tokens.c.id).where(*still).with_for_update(key_share=True)).first() is None:
        return None
    forget_expired(tx)
    secret = new_session_secret()
    end = now_ms() + DAYS * DAY_MS
    least = func.min if tx.dialect.name == "sqlite" else func.least
    expires_ms = end if token.expires_ms is None else least(end, token.expires_ms)
    new = insert(sessions).values(sha256=sha256_of(secret), token_id=token.id, expires_ms=expires_ms)
    left_ms = tx.execute(new.returning(sessions.c.expires_ms - now_ms())).scalar_one()
    return NewSession(secret, left_ms // 1000)


def count_expired(tx: Connection) -> int:
    return tx.execute(select(func.count()).select_from(sessions).where(_is_over())).scalar_one()


def forget_expired(tx: Connection) -> int:
    """Returns how many."""
    return tx.execute(delete(sessions).where(_is_over())).rowcount


def _is_over() -> ColumnElement[bool]:
    return sessions.c.expires_ms <= now_ms()


def end(tx: Connection, secret: str) -> None:
    """Whether there was one or not."""
    tx.execute(delete(sessions).where(sessions.c.sha256 == sha256_of(secret)))
