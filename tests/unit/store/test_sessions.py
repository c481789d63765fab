"""Sessions of the sign-in page in SQL: the secret is nowhere, and none outlives its token."""

import pytest
from sqlalchemy import func, select, text, update

from core.store import sessions, tokens
from core.store.session import Store
from core.store.tables import sessions as table
from core.store.tables import tokens as tokens_table
from core.store.tokens import DAY_MS, Token
from core.tokens import Scope


def made(store: Store, name: str = "alice", days: int | None = None) -> Token:
    with store.writing() as tx:
        tokens.create(tx, name, Scope.SUBMIT, days)
        return tokens.named(tx, name)


def begun(store: Store, token: Token) -> sessions.NewSession:
    with store.writing() as tx:
        session = sessions.begin(tx, token)
    assert session is not None
    return session


def owner(store: Store, secret: str) -> str | None:
    with store.reading() as tx:
        token = tokens.of_session(tx, secret)
    return token.name if token and token.valid else None


def test_a_session_stands_for_its_token_and_its_secret_is_kept_nowhere(store: Store) -> None:
    first, second = begun(store, made(store)), begun(store, made(store, "bob"))
    assert len(first.secret) >= 43  # 256 bits in base64
    assert (owner(store, first.secret), owner(store, second.secret)) == ("alice", "bob")
    assert owner(store, first.secret[:-1]) is None
    assert owner(store, "") is None
    with store.reading() as tx:
        kept = str(tx.execute(text("SELECT * FROM sessions")).all())
        hashes = [row.sha256 for row in tx.execute(select(table.c.sha256))]
    assert first.secret not in kept
    assert all(owner(store, each) is None for each in hashes)  # what the database knows opens nothing


def test_it_ends_after_a_week_or_before_its_token_does(store: Store) -> None:
    assert begun(store, made(store)).seconds == pytest.approx(7 * 86_400, abs=2)
    assert begun(store, made(store, "bob", days=365)).seconds == pytest.approx(7 * 86_400, abs=2)
    assert begun(store, made(store, "carol", days=2)).seconds == pytest.approx(2 * 86_400, abs=5)


@pytest.mark.parametrize("change", ["rotate", "revoke"])
def test_with_a_tokens_secret_its_sessions_end(store: Store, change: str) -> None:
    alice, bob = made(store), made(store, "bob")
    session, other = begun(store, alice), begun(store, bob)
    with store.writing() as tx:
        getattr(tokens, change)(tx, "alice")
    assert (owner(store, session.secret), owner(store, other.secret)) == (None, "bob")
    with store.writing() as tx:
        assert tx.execute(select(func.count()).select_from(table)).scalar() == 1
        tokens.rotate(tx, "alice")
    assert owner(store, session.secret) is None


@pytest.mark.parametrize("change", ["rotate", "revoke"])
def test_none_begins_with_a_secret_that_was_just_taken_away(store: Store, change: str) -> None:
    """Between finding the token and beginning the session."""
    found = made(store)
    with store.writing() as tx:
        getattr(tokens, change)(tx, "alice")
    with store.writing() as tx:
        assert sessions.begin(tx, found) is None


def test_one_whose_token_has_expired_is_none(store: Store) -> None:
    session = begun(store, made(store))
    with store.writing() as tx:
        tx.execute(update(tokens_table).values(expires_ms=1))
    assert owner(store, session.secret) is None


def test_those_that_are_over_are_none_and_forgotten_with_the_next(store: Store) -> None:
    token = made(store)
    old = begun(store, token)
    with store.writing() as tx:
        tx.execute(update(table).values(expires_ms=table.c.expires_ms - 8 * DAY_MS))
    assert owner(store, old.secret) is None
    new = begun(store, token)
    with store.writing() as tx:
        assert tx.execute(select(func.count()).select_from(table)).scalar() == 1
        sessions.end(tx, new.secret)
        sessions.end(tx, "nobodys")
    assert owner(store, new.secret) is None
