"""Opening in order: a home that can be written, one service a home, a database of our revision; or one sentence."""

import errno
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from core.locks import NoLocks, require_locks
from core.opening import HomeUnusable, files_of, open_store, prepare_home, sole_service, warn_of_checkpoints
from core.settings import Settings, load_settings
from core.store import schema
from core.store.errors import SchemaMissing
from core.store.session import Store
from tests.nolocks import without_locks
from tests.servers import Postgres

REDIS = "redis://127.0.0.1:1/0"


def at(home: Path, database_url: str = "", broker_url: str = "", checkpoint_url: str = "") -> Settings:
    return load_settings(home=home, database_url=database_url, broker_url=broker_url, checkpoint_url=checkpoint_url)


def test_a_home_is_made_with_its_parents_and_left_clean(tmp_path: Path) -> None:
    home = tmp_path / "a" / "b"
    prepare_home(at(home))
    prepare_home(at(home))
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("home", ["file", "file/below", "/proc/ballast"])
def test_a_home_that_cannot_be_written_is_one_sentence(tmp_path: Path, home: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomeUnusable, match=r"^cannot write to .*: set BALLAST_HOME to a folder that you may write to$"):
        prepare_home(at(tmp_path / home))


@pytest.mark.parametrize("broker_url", ["", REDIS])
def test_a_second_service_on_the_same_home_is_told_who_is_there(tmp_path: Path, broker_url: str) -> None:
    settings = at(tmp_path / "home", broker_url=broker_url)
    code = (
        "import sys; from pathlib import Path; from core.opening import sole_service;"
        "from core.settings import load_settings;"
        f"settings = load_settings(home={str(settings.home)!r}, database_url='', broker_url={broker_url!r});"
        "held = sole_service(settings); held.__enter__(); print('held', flush=True); sys.stdin.read()"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert first.stdout is not None
    assert first.stdout.readline() == b"held\n"
    with pytest.raises(HomeUnusable, match=f"is served already, by process {first.pid} on "), sole_service(settings):
        pass
    first.kill()  # whatever ends it, the kernel lets go
    first.communicate()
    with sole_service(settings):
        pass


def test_two_homes_on_one_sqlite_file_are_two_services_on_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    with (
        sole_service(at(tmp_path / "one", url)),
        pytest.raises(HomeUnusable, match="is served already"),
        sole_service(at(tmp_path / "two", url)),
    ):
        pass


def test_services_with_servers_of_their_own_hold_nothing(tmp_path: Path) -> None:
    settings = at(tmp_path / "home", "postgresql://db/ballast", REDIS)
    with sole_service(settings), sole_service(settings):
        assert not settings.home.exists()


def test_a_sqlite_file_in_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    settings = at(tmp_path / "home", f"sqlite:///{tmp_path}/nowhere/ballast.db")
    sentence = r"^cannot write to .*/nowhere \(.*\): correct BALLAST_DATABASE_URL$"
    with pytest.raises(HomeUnusable, match=sentence), sole_service(settings):
        pass
    with pytest.raises(SchemaMissing):
        open_store(settings)


POSTGRESQL = "postgresql://db/ballast"
WARNS_OF_OTHER_HOSTS = "other hosts cannot go on from this host's checkpoints"


def warnings_of(home: Path, checkpoint_url: Path | str = "", database_url: str = POSTGRESQL) -> list[str]:
    settings = at(home, database_url, REDIS, checkpoint_url=str(checkpoint_url))
    with capture_logs() as said:
        warn_of_checkpoints(settings)
        warn_of_checkpoints(child_of(settings))
    assert said[: len(said) // 2] == said[len(said) // 2 :]
    return [line["event"] for line in said[: len(said) // 2]]


def child_of(settings: Settings) -> Settings:
    """As a process that it starts reads them."""
    values = {name.removeprefix("BALLAST_").lower(): value for name, value in settings.child_environment().items()}
    return load_settings(**{name: values[name] for name in Settings.model_fields})


def test_checkpoints_in_the_home_of_one_of_several_hosts_are_warned_of(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for place in ("", home / "elsewhere", home / "x/../y", f"local://{home}/checkpoints"):
        (warning,) = warnings_of(home, place)
        assert warning.startswith(WARNS_OF_OTHER_HOSTS)


def test_a_folder_for_checkpoints_that_was_set_is_believed(tmp_path: Path) -> None:
    home, everywhere = tmp_path / "home", tmp_path / "everywhere"
    home.mkdir()
    everywhere.mkdir()
    (home / "checkpoints").symlink_to(everywhere)
    for place in (everywhere, everywhere / "not/yet", tmp_path / "home-too", f"file://{everywhere}", "memory://x", ""):
        assert warnings_of(home, place) == []


def test_one_host_alone_is_not_told_of_others(tmp_path: Path) -> None:
    assert warnings_of(tmp_path, database_url=f"sqlite:///{tmp_path}/ballast.db") == []


def test_a_place_for_checkpoints_that_cannot_be_written_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file/below", "/proc/ballast", "/" + "x" * 300):
        (warning,) = warnings_of(tmp_path / "home", place)
        assert warning.startswith(f"checkpoints cannot be reached below file://{place}: ")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]  # to look changes nothing


def test_a_database_without_our_schema_is_not_opened(tmp_path: Path) -> None:
    settings = at(tmp_path / "home")
    with pytest.raises(SchemaMissing, match="ballast db upgrade"):
        open_store(settings)
    prepare_home(settings)
    schema.upgrade(settings.database_url)
    open_store(settings).close()


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_not_taken_for_a_service(tmp_path: Path, error: int) -> None:
    settings = at(tmp_path / "home")
    prepare_home(settings)
    schema.upgrade(settings.database_url)
    before = sorted(settings.home.iterdir())

    def serve() -> None:
        with sole_service(settings):
            pass

    for start in (serve, lambda: prepare_home(settings), lambda: open_store(settings).close()):
        with pytest.raises(NoLocks) as caught:
            without_locks(error, start)
        assert str(caught.value) == (
            f"the file system of {settings.home} has no file locks ({os.strerror(error)}): "
            "set BALLAST_HOME to a folder on a local disk"
        )
    assert sorted(settings.home.iterdir()) == before


def test_a_file_system_where_somebody_holds_locks_has_them(tmp_path: Path) -> None:
    with sole_service(at(tmp_path)):
        require_locks(tmp_path)


def mark_of(settings: Settings) -> str:
    """Of the database, in the names of its folders."""
    with closing(Store(settings.database_url)) as store:
        return files_of(settings, store).own("1-1").removeprefix("1-1-")


def test_a_copy_of_a_database_marks_its_folders_otherwise_and_a_moved_home_does_not(tmp_path: Path) -> None:
    home = tmp_path / "home"
    mark = mark_of(Settings(home=home))
    assert len(mark) == 8
    assert mark_of(Settings(home=home)) == mark
    assert mark_of(Settings(home=tmp_path / "moved")) == mark  # with all that lies in it
    restored = Settings(home=home, database_url=f"sqlite:///{home}/restored.db")
    elsewhere = Settings(home=home, checkpoint_url=str(tmp_path / "shared"))
    of_another_home = Settings(home=tmp_path / "moved", checkpoint_url=str(tmp_path / "shared"))
    assert len({mark, *map(mark_of, (restored, elsewhere, of_another_home))}) == 4


def test_on_postgresql_name_and_schema_tell_a_copy_and_all_roles_are_told_the_same(
    postgres: Postgres, tmp_path: Path
) -> None:
    postgres.execute("CREATE DATABASE original", "CREATE DATABASE restored", "CREATE ROLE worker LOGIN")
    home = tmp_path / "home"
    url = postgres.url_of("original")
    marks = [
        mark_of(Settings(home=home, database_url=each))
        for each in (
            url,
            url.replace("postgres@", "worker@"),
            postgres.url_of("restored"),
            url + "?options=-csearch_path%3Dpg_catalog",
        )
    ]
    assert marks[0] == marks[1]
    assert len(set(marks)) == 3
    postgres.execute("DROP DATABASE original", "DROP DATABASE restored", "DROP ROLE worker")
