"""Sessions of the sign-in page: a browser holds a secret of its own in the place of its token, for a week at most.

Of it only the SHA-256 is kept, so that whoever reads the database can forge none. They end with the token's secret.
"""

from typing import NamedTuple

from sqlalchemy import Connection, delete, func, insert

from core.store.clock import now_ms
from core.store.tables import sessions
from core.store.tokens import DAY_MS, Token
from core.tokens import new_session_secret, sha256_of

DAYS = 7


class NewSession(NamedTuple):
    secret: str
    seconds: int  # for which it is valid


def begin(tx: Connection, token: Token) -> NewSession:
    """A new session, which ends before its token does. Those that are over are forgotten."""
    tx.execute(delete(sessions).where(sessions.c.expires_ms <= now_ms()))
    secret = new_session_secret()
    end = now_ms() + DAYS * DAY_MS
    least = func.min if tx.dialect.name == "sqlite" else func.least
    expires_ms = end if token.expires_ms is None else least(end, token.expires_ms)
    new = insert(sessions).values(sha256=sha256_of(secret), token_id=token.id, expires_ms=expires_ms)
    left_ms = tx.execute(new.returning(sessions.c.expires_ms - now_ms())).scalar_one()
    return NewSession(secret, left_ms // 1000)


def end(tx: Connection, secret: str) -> None:
    """Whether there was one or not."""
    tx.execute(delete(sessions).where(sessions.c.sha256 == sha256_of(secret)))
