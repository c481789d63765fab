"""`ballast gc`: what nobody needs any more is removed from the database and from the place of checkpoints."""

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.printing import AsJson, byte_size, print_json, print_table

if TYPE_CHECKING:
    from core.store.garbage import Amount

app = typer.Typer()


@app.command(epilog="Example: ballast gc --days 30 --dry-run")
def gc(
    days: Annotated[int, typer.Option(min=0, max=36_500, help="Since an experiment ended.")] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how much it would be, and remove nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove checkpoints of what ended long ago, files that nothing points to, expired keys and sessions.

    Curves, predictions and final weights stay. Without its checkpoint an experiment cannot be extended any more, and
    one that failed or was cancelled begins again with its first epoch when it is retried.
    """
    from core import logs
    from core.opening import files_of, open_store
    from core.settings import load_settings
    from core.store.garbage import collect

    settings = load_settings()
    logs.configure(settings)
    with closing(open_store(settings)) as store:
        found = collect(store, files_of(settings, store), days, dry_run=dry_run)
    if as_json:
        told = asdict(found)
        amounts = {name: told[name]._asdict() for name in ("checkpoints", "orphans", "others")}
        print_json({"dry_run": dry_run, **told, **amounts})
        return
    done = "would be removed" if dry_run else "removed"
    rows = [
        (f"checkpoints of what ended {days} days ago or before", *_cells(found.checkpoints), done),
        ("files that nothing points to", *_cells(found.orphans), done),
        ("expired idempotency keys", found.keys, None, done),
        ("expired sessions", found.sessions, None, done),
        ("files of other databases", *_cells(found.others), "left"),
    ]
    print_table(("what", "count", "size", ""), rows)


def _cells(amount: "Amount") -> tuple[int, str]:
    return amount.files, byte_size(amount.bytes)
