"""`ballast token`: who may ask a service that others can reach, and how much. It works on the database itself,
so that the first token can be made before anything serves.
"""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.printing import AsJson, print_json, print_note, print_table
from core.tokens import RESERVED, Scope

if TYPE_CHECKING:
    from core.store.session import Store

app = typer.Typer()
token = typer.Typer(no_args_is_help=True, help="Who may ask a service that others can reach.")
app.add_typer(token, name="token")

_NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"


def _known_name(name: str) -> str:

    if not re.fullmatch(_NAME, name):
        raise typer.BadParameter(
            "a name is 1 to 64 letters, digits, dots, dashes, underscores or @, and begins with one of the first two"
        )
    if name in RESERVED:
        raise typer.BadParameter(f"{name} is who acts without a token: choose another name")
    return name


Name = Annotated[
    str, typer.Argument(metavar="NAME", callback=_known_name, help="Whose it is: the owner of what it makes.")
]
Days = Annotated[int | None, typer.Option(min=1, max=36_500, help="Until it expires; never, unless said.")]

_MOST = 2**31 - 1  # an INTEGER
MaxQueued = Annotated[
    int | None, typer.Option(min=0, max=_MOST, help="Experiments of theirs that may wait; 0: as many as they like.")
]
MaxRunning = Annotated[
    int | None, typer.Option(min=0, max=_MOST, help="That may run at once; 0: as many as there are workers.")
]
PerMinute = Annotated[int | None, typer.Option(min=0, max=_MOST, help="Requests a minute; 0: as many as they like.")]


@token.command(epilog="Example: ballast token create bob --scope submit --days 365")
def create(
    name: Name,
    scope: Annotated[
        Scope, typer.Option(help="read; submit: also make experiments, and change what it made; admin: everybody's.")
    ] = Scope.SUBMIT,
    days: Days = None,
    max_queued: MaxQueued = None,
    max_running: MaxRunning = None,
    per_minute: PerMinute = None,
    as_json: AsJson = False,
) -> None:
    """Make a token, and print it once: it is kept nowhere."""
    from core.store import tokens

    quotas = tokens.Quotas(max_queued or None, max_running or None, per_minute or None)
    with _store() as store, store.writing() as tx:
        secret = tokens.create(tx, name, scope, days, quotas)
    _print_secret(name, secret, as_json)


@token.command("list", epilog="Example: ballast token list")
def list_(as_json: AsJson = False) -> None:
    """List the tokens, and when each was last used; of their secrets nothing is known."""
    from core.store import tokens
    from core.store.clock import rfc3339

    with _store() as store, store.reading() as tx:
        found = tokens.everyone(tx)

    def time(ms: int | None) -> str | None:
        return None if ms is None else rfc3339(ms)

    rows = [
        {
            "name": each.name,
            "scope": each.scope,
            "valid": each.valid,
            "created_at": time(each.created_ms),
            "expires_at": time(each.expires_ms),
            "used_at": time(each.used_ms),
            "revoked_at": time(each.revoked_ms),
            **each.quotas._asdict(),
        }
        for each in found
    ]
    if as_json:
        print_json({"items": rows})
    else:
        times = ("created_at", "expires_at", "used_at", "revoked_at")
        names = ("name", "scope", "valid", *times, *tokens.Quotas._fields)
        print_table(names, ([row[name] for name in names] for row in rows))


@token.command(epilog="Example: ballast token limit carol --max-queued 500 --max-running 4 --per-minute 120")
def limit(
    name: Name,
    max_queued: MaxQueued = None,
    max_running: MaxRunning = None,
    per_minute: PerMinute = None,
    as_json: AsJson = False,
) -> None:
    """Change how much the holder of a token may have; what is not said stays. What waits or runs already stays too."""
    from core.store import tokens

    said = {"max_queued": max_queued, "max_running": max_running, "per_minute": per_minute}
    changed = {each: number or None for each, number in said.items() if number is not None}
    with _store() as store, store.writing() as tx:
        quotas = tokens.limit(tx, name, changed)
    if as_json:
        print_json({"name": name, **quotas._asdict()})
    else:
        told = ", ".join(f"{each} {'-' if number is None else number}" for each, number in quotas._asdict().items())
        print(f"the token {name}: {told}")


@token.command(epilog="Example: ballast token revoke carol")
def revoke(name: Name, as_json: AsJson = False) -> None:
    """Let a token be worth nothing from now on; what was made with it stays."""
    from core.store import tokens

    with _store() as store, store.writing() as tx:
        tokens.revoke(tx, name)
    if as_json:
        print_json({"name": name, "valid": False})
    else:
        print(f"the token {name} is revoked")


@token.command(epilog="Example: ballast token rotate carol")
def rotate(name: Name, days: Days = None, as_json: AsJson = False) -> None:
    """Give a token another secret, and print that once; the old one is worth nothing from now on. Its limits stay."""
    from core.store import tokens

    with _store() as store, store.writing() as tx:
        secret = tokens.rotate(tx, name, days)
    _print_secret(name, secret, as_json)


@contextmanager
def _store() -> "Iterator[Store]":
    from core import logs
    from core.opening import open_store
    from core.settings import load_settings

    settings = load_settings()
    logs.configure(settings)
    with closing(open_store(settings)) as store:
        yield store


def _print_secret(name: str, secret: str, as_json: bool) -> None:
    if as_json:
        print_json({"name": name, "token": secret})
    else:
        print(secret)
        print_note(f"this is the token of {name}, shown once: BALLAST_TOKEN, or a file that BALLAST_TOKEN_FILE names")
