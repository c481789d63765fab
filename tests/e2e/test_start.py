"""What cannot start says why in one sentence, ends with exit code 1, and harms nothing."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.e2e.processes import COMMAND, DIGITS, Process, Up, ballast, running, wait_for_end
from tests.servers import PATIENCE_S, Postgres, free_port, wait_until


def refusal(*arguments: str, **environment: object) -> str:
    """The one sentence with which a command refuses."""
    done = ballast(*arguments, **environment)
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    sentence = done.stderr.strip()
    assert sentence.startswith("ballast: ")
    assert "\n" not in sentence
    return sentence


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "BALLAST_PORT" in refusal("up", home=tmp_path / "home", port=port)


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    assert "BALLAST_HOME" in refusal("up", home=in_the_way / "home", port=free_port())
    assert "BALLAST_HOME" in refusal("up", home="/proc/ballast", port=free_port())
    assert in_the_way.read_text() == "not a folder"


@pytest.mark.slow
def test_redis_unreachable(tmp_path: Path) -> None:
    broker = f"redis://:secret@127.0.0.1:{free_port()}/0"
    for command in ("up", "worker"):
        ballast("db", "upgrade", home=tmp_path)
        sentence = refusal(command, home=tmp_path, port=free_port(), broker_url=broker)
        assert "BALLAST_BROKER_URL" in sentence
        assert "secret" not in sentence


@pytest.mark.slow
def test_postgresql_unreachable(tmp_path: Path) -> None:
    database = f"postgresql://me:secret@127.0.0.1:{free_port()}/nowhere"
    for command in (("up",), ("api",), ("worker",), ("db", "check"), ("db", "upgrade")):
        assert "secret" not in refusal(*command, home=tmp_path, port=free_port(), database_url=database)


def test_a_second_up_on_one_home_harms_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(Up(home, "--workers", "1")) as first:
        assert "BALLAST_HOME" in refusal("up", home=home, port=free_port())
        assert "BALLAST_HOME" in refusal("api", home=home, port=free_port())
        experiment = first.client.submit(DIGITS)
        assert wait_for_end(first.client, experiment["id"])["state"] == "succeeded"


@pytest.mark.slow
def test_a_database_a_migration_behind_names_the_command(tmp_path: Path, postgres: Postgres) -> None:
    postgres.execute("CREATE DATABASE behind")
    for settings in ({"home": tmp_path}, {"home": tmp_path, "database_url": postgres.url_of("behind")}):
        for command in ("api", "worker"):
            assert "ballast db upgrade" in refusal(command, port=free_port(), **settings)
        assert "ballast db upgrade" in refusal("db", "check", **settings)
        assert ballast("db", "upgrade", **settings).returncode == 0
        assert ballast("db", "check", **settings).returncode == 0


@pytest.mark.slow
def test_a_database_a_migration_ahead_starts_with_a_warning(tmp_path: Path) -> None:
    assert ballast("db", "upgrade", home=tmp_path).returncode == 0
    engine = create_engine(f"sqlite:///{tmp_path / 'ballast.db'}")
    with engine.begin() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    upgraded = ballast("db", "upgrade", home=tmp_path)
    assert upgraded.stdout == "the database has revision 9999\n"
    for command in ("api", "up"):
        with running(Process(command, log=tmp_path / command, home=tmp_path, port=free_port())) as process:
            wait_until(lambda process=process: "Ballast serves" in process.log_text())
            assert "newer than this Ballast" in process.log_text()


def test_a_home_of_any_name_holds_its_own_database(tmp_path: Path) -> None:
    home = tmp_path / "an odd home é %20 #x?q" / ".ballast"
    assert ballast("db", "upgrade", home=home).returncode == 0
    assert (home / "ballast.db").is_file()
    assert [each.name for each in tmp_path.iterdir()] == ["an odd home é %20 #x?q"]
    assert "BALLAST_HOME" in refusal("db", "check", home="~nobody-of-this-name/x")


def test_a_check_changes_nothing(tmp_path: Path) -> None:
    assert "has no tables yet" in refusal("db", "check", home=tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_role_without_rights_is_told_so(tmp_path: Path, postgres: Postgres) -> None:
    postgres.execute("CREATE ROLE guest LOGIN", "CREATE DATABASE foreign_to_guest")
    url = postgres.url_of("foreign_to_guest").replace("postgres@", "guest@")
    assert "permission denied" in refusal("db", "upgrade", home=tmp_path, database_url=url)


def test_two_services_never_share_a_port(tmp_path: Path) -> None:
    port = free_port()
    both = [Process("up", log=tmp_path / name, home=tmp_path / f"home-{name}", port=port) for name in "ab"]
    with running(both[0]), running(both[1]):
        wait_until(lambda: any(each.popen.poll() is not None for each in both))
        (loser,) = [each for each in both if each.popen.poll() is not None]
        assert loser.popen.returncode == 1
        assert "BALLAST_PORT" in loser.log_text()
        (winner,) = [each for each in both if each is not loser]
        wait_until(lambda: "Ballast serves" in winner.log_text())


def test_where_no_device_is_there_nothing_is_served(tmp_path: Path) -> None:
    with running(Process("up", log=tmp_path / "log", home=tmp_path / "home", port=free_port(), device="cuda:99")) as up:
        assert up.popen.wait(PATIENCE_S) == 1
        assert "there is no device cuda:99" in up.log_text()
        assert "the workers have ended: stopping" in up.log_text()


def test_the_demo_looks_before_it_trains_whether_it_may_write(tmp_path: Path) -> None:
    (tmp_path / "figure.png").mkdir()
    assert "figure.png" in refusal("demo", "--out", str(tmp_path))


@pytest.mark.parametrize("setting", [{"host": "0.0.0.0"}, {"allowed_hosts": "lab"}, {"trusted_proxies": "127.0.0.1"}])
def test_what_others_can_reach_is_not_served_without_tokens(tmp_path: Path, setting: dict[str, str]) -> None:
    assert "there is no token" in refusal("up", home=tmp_path, port=free_port(), **setting)


def test_an_old_python_is_named_by_make(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    pretend = "import sys; sys.version_info = (3, 9); sys.version = '3.9.1'; exec(sys.argv[1])"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{pretend}" "$2"\n')
    old.chmod(0o755)
    repository = Path(__file__).parents[2]
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text((repository / name).read_text())
    done = subprocess.run(
        ["make", "-s", "demo", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "needs Python 3.11" in done.stderr
    assert "3.9.1" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_make_says_what_it_installs_before_pip_says_how_far_it_is(tmp_path: Path) -> None:
    repository = Path(__file__).parents[2]
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text((repository / name).read_text())
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(["make", "-s", ".venv/worker"], cwd=tmp_path, capture_output=True, text=True, check=True)
    first, pip = done.stdout.splitlines()
    assert "1.4 GB" in first
    assert pip.startswith("-m pip install ")
    assert not {"-q", "--quiet"} & set(pip.split())


def test_mistyped_commands_are_usage_errors(tmp_path: Path) -> None:
    for arguments in (["submitt"], ["up", "--port", "x"], ["show", "abc"], ["cancel", "0"]):
        done = subprocess.run([COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2, (arguments, done.stderr)
        assert "Traceback" not in done.stderr
