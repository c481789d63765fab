"""`ballast db`: the database and its schema."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.errors import MadeElsewhere
from api.cli.printing import AsJson, byte_size, experiment_count, print_json

if TYPE_CHECKING:
    from core.settings import Settings

app = typer.Typer()
db = typer.Typer(no_args_is_help=True, help="The database.")
app.add_typer(db, name="db")


@db.command(epilog="Example: ballast db upgrade")
def upgrade(as_json: AsJson = False) -> None:
    """Bring the database to this version's schema."""
    from core.opening import prepare_home
    from core.settings import load_settings
    from core.store import schema

    settings = load_settings()
    if settings.embedded_database:
        prepare_home(settings)
    schema.upgrade(settings.database_url)
    _print_revision(settings, as_json)


@db.command(epilog="Example: ballast db check")
def check(as_json: AsJson = False) -> None:
    """Say whether the database answers and has this version's schema."""
    from core.settings import load_settings

    _print_revision(load_settings(), as_json)


@db.command(epilog="Example: ballast db backup ballast-backup.db")
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where it shall lie; nothing is overwritten.")],
    as_json: AsJson = False,
) -> None:
    """Copy the database as it is now, beside a service at work. Of PostgreSQL, print the line of pg_dump that does."""
    from core.opening import require_sqlite_file
    from core.settings import load_settings
    from core.store import backup
    from core.store.session import Store

    settings = load_settings()
    target = file.expanduser().absolute()
    if not settings.embedded_database:
        with closing(Store(settings.database_url)) as store:
            print(backup.postgresql_line(store, settings.database_url, target))
        raise MadeElsewhere
    require_sqlite_file(settings)
    copied = backup.copy_sqlite(settings.sqlite_file, target)
    if as_json:
        print_json({"file": str(target), **copied._asdict()})
    else:
        print(f"{target}: {byte_size(copied.size)}, {experiment_count(copied.experiments)}, revision {copied.revision}")


def _print_revision(settings: "Settings", as_json: bool) -> None:
    from core import logs
    from core.opening import checked_store
    from core.store import schema

    logs.configure(settings)
    with closing(checked_store(settings)) as store:
        revision = schema.revision_of(store)
    if as_json:
        print_json({"revision": revision})
    else:
        print(f"the database has revision {revision}")
