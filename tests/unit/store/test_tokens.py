"""Tokens in SQL: the secret is nowhere, a name is given once, and what is over is over."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text, update

from core.store import tokens
from core.store.session import Store
from core.store.tables import tokens as table
from core.store.tokens import DAY_MS, NoSuchToken, TokenExists
from core.tokens import Scope


def found(store: Store, secret: str) -> tokens.Token | None:
    with store.reading() as tx:
        return tokens.find(tx, secret)


def test_a_secret_finds_its_token_and_is_kept_nowhere(store: Store) -> None:
    with store.writing() as tx:
        alice = tokens.create(tx, "alice", Scope.SUBMIT)
        bob = tokens.create(tx, "bob", Scope.READ)
        kept = str(tx.execute(text("SELECT * FROM tokens")).all())
    assert len(alice) >= len("ballast_") + 43  # 256 bits in base64
    assert alice != bob
    assert alice not in kept
    token = found(store, alice)
    assert token is not None
    assert (token.name, token.scope, token.valid, token.used_ms) == ("alice", Scope.SUBMIT, True, None)
    assert found(store, alice + "x") is None
    assert found(store, "") is None


def test_a_name_is_given_once(store: Store) -> None:
    with store.writing() as tx:
        tokens.create(tx, "alice", Scope.READ)
        tokens.revoke(tx, "alice")
    with pytest.raises(TokenExists, match="rotate alice"), store.writing() as tx:
        tokens.create(tx, "alice", Scope.ADMIN)


def test_what_is_revoked_or_over_is_invalid_and_a_rotated_one_is_valid_by_its_new_secret_alone(store: Store) -> None:
    with store.writing() as tx:
        old = tokens.create(tx, "alice", Scope.SUBMIT, days=1)
        assert tokens.exist(tx)
        tokens.revoke(tx, "alice")
        assert not tokens.exist(tx)
    token = found(store, old)
    assert token is not None
    assert not token.valid
    with store.writing() as tx:
        new = tokens.rotate(tx, "alice")
    assert found(store, old) is None
    token = found(store, new)
    assert token is not None
    assert (token.valid, token.scope) == (True, Scope.SUBMIT)


def test_a_rotated_token_is_valid_for_as_long_as_it_was_or_as_is_said(store: Store) -> None:
    with store.writing() as tx:
        tokens.create(tx, "alice", Scope.SUBMIT, days=30)
        tx.execute(update(table).values(created_ms=table.c.created_ms - DAY_MS, expires_ms=table.c.expires_ms - DAY_MS))
        tokens.rotate(tx, "alice")
        (same,) = tokens.everyone(tx)
        tokens.rotate(tx, "alice", days=2)
        (shorter,) = tokens.everyone(tx)
    assert same.expires_ms is not None
    assert shorter.expires_ms is not None
    assert (same.expires_ms - same.created_ms) / DAY_MS == pytest.approx(30, abs=1e-6)
    assert (shorter.expires_ms - shorter.created_ms) / DAY_MS == pytest.approx(2, abs=1e-6)


def test_a_use_of_the_old_secret_is_none_of_the_new(store: Store) -> None:
    with store.writing() as tx:
        tokens.create(tx, "alice", Scope.READ)
        (old,) = tokens.everyone(tx)
        tokens.rotate(tx, "alice")
        tokens.note_use(tx, old)
        assert tokens.everyone(tx)[0].used_ms is None


def test_a_token_ends_with_its_last_day(store: Store) -> None:
    with store.writing() as tx:
        secret = tokens.create(tx, "alice", Scope.SUBMIT, days=30)
    token = found(store, secret)
    assert token is not None
    assert token.expires_ms is not None
    assert token.expires_ms - token.created_ms == 30 * DAY_MS
    with store.writing() as tx:
        tx.execute(update(table).values(expires_ms=token.created_ms))
    token = found(store, secret)
    assert token is not None
    assert not token.valid


def test_a_use_is_noted_to_the_minute(store: Store) -> None:
    with store.writing() as tx:
        secret = tokens.create(tx, "alice", Scope.READ)
        assert tokens.everyone(tx)[0].use_is_old
        tokens.note_use(tx, tokens.everyone(tx)[0])
        assert not tokens.everyone(tx)[0].use_is_old
        tx.execute(update(table).values(used_ms=table.c.used_ms - 60_001))
        assert tokens.everyone(tx)[0].use_is_old
    assert found(store, secret) is not None


@pytest.mark.parametrize("change", [tokens.revoke, tokens.rotate])
def test_nobody_is_no_token(store: Store, change: Callable[[Connection, str], object]) -> None:
    with pytest.raises(NoSuchToken, match="there is no token nobody"), store.writing() as tx:
        change(tx, "nobody")
