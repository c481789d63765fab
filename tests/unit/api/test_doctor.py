"""`ballast doctor`: what it finds on machines that are well, and on those that are not."""

import errno
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api.cli.main import main
from api.cli.printing import byte_size
from core import processor
from core.broker.doorbell import Doorbell
from core.store import schema
from core.store.session import Store
from tests.data import DATA
from tests.servers import PATIENCE_S, Postgres, Redis, free_port
from tests.unit.api.serving import serving
from tests.unit.api.typed import COMMAND, environment
from tests.unit.store.builders import a_worker
from worker.capacity import capacity

pytestmark = pytest.mark.usefixtures("a_process")  # looks at devices in another

Found = dict[str, dict[str, str]]


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


def doctor(tmp_path: Path, status: int = 0, **settings: object) -> Found:
    """Its findings, by name."""
    return findings(typed("doctor", "--json", tmp_path=tmp_path, **settings), status)


def findings(done: subprocess.CompletedProcess[str], status: int) -> Found:
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr == ""
    found: list[dict[str, Any]] = json.loads(done.stdout)
    for finding in found:
        assert set(finding) == {"name", "status", "found", "todo"}
        assert bool(finding["todo"]) == (finding["status"] != "ok"), finding
    return {finding["name"]: finding for finding in found}


def typed(*words: str, tmp_path: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """In this process; and what answers late on a busy machine is waited for."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr("api.cli.machine.checks.examination._PATIENCE", PATIENCE_S)
        patch.setattr("api.cli.machine.checks.host._DEVICES_PATIENCE", PATIENCE_S)
        patch.setattr(os, "environ", variables(tmp_path, settings))
        patch.setattr(sys, "argv", ["ballast", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return subprocess.CompletedProcess(words, int(ended.value.code or 0), out.getvalue(), err.getvalue())


def variables(tmp_path: Path, settings: dict[str, object]) -> dict[str, str]:
    values = {"home": tmp_path / "home", "url": f"http://127.0.0.1:{free_port()}", **settings}
    return environment(str(values["url"])) | {f"BALLAST_{name.upper()}": str(value) for name, value in values.items()}


def statuses(found: Found) -> dict[str, str]:
    return {name: finding["status"] for name, finding in found.items()}


def test_a_fresh_machine_lacks_only_a_service(tmp_path: Path) -> None:
    found = doctor(tmp_path, home=tmp_path / "not" / "yet")
    assert f"ballast {metadata.version('ballast')}, python 3." in found["versions"]["found"]
    assert f"torch {metadata.version('torch')}" in found["versions"]["found"]
    assert "GiB free" in found["home"]["found"]
    assert "has no tables yet" in found["database"]["found"]
    assert re.match("(cpu: .*core|a worker process for each of cuda:0)", found["devices"]["found"])
    assert {name for name, status in statuses(found).items() if status != "ok"} == {"database", "service"}
    assert list(tmp_path.iterdir()) == []  # it changes nothing


@pytest.mark.parametrize("computes_bf16", [True, False, None])
def test_how_many_processes_the_cpu_bears_and_what_it_does_not_compute_in(
    computes_bf16: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "computes_bf16", lambda: computes_bf16)
    devices = doctor(tmp_path, device="cpu")["devices"]
    assert devices["status"] == "ok"  # nothing is wrong with this machine
    words, _, remark = devices["found"].partition("; ")
    assert words.partition(" (")[0] == f"cpu: {capacity()}".partition(" (")[0]
    assert remark == (processor.SLOW_BF16 if computes_bf16 is False else "")


def test_a_service_its_workers_and_the_clocks(
    store: Store, doorbell: Doorbell, database_url: str, tmp_path: Path
) -> None:
    with serving(store, doorbell, home=tmp_path / "home") as url:
        found = doctor(tmp_path, url=url, database_url=database_url)
        assert f"revision {schema.REVISION}" in found["database"]["found"]
        assert metadata.version("ballast") in found["service"]["found"]
        for clock in ("database clock", "service clock"):
            assert found[clock]["status"] == "ok"
            assert found[clock]["found"] == "within 2 s of this host's"
        assert found["workers"]["found"] == "none is alive"
        a_worker(store, "gpu1", 7)
        found = doctor(tmp_path, url=url, database_url=database_url)
        assert found["workers"]["found"] == "1 alive on gpu1"
        assert set(statuses(found).values()) == {"ok"}


def test_the_home_of_a_service_and_ours_are_not_mixed(store: Store, doorbell: Doorbell, tmp_path: Path) -> None:
    theirs = tmp_path / "their home"
    theirs.mkdir()
    with serving(store, doorbell, home=theirs) as url:
        found = doctor(tmp_path, url=url)
        (tmp_path / "link").symlink_to(theirs)
        same = doctor(tmp_path, url=url, home=tmp_path / "link")
    assert found["service home"]["status"] == "warning"
    assert found["service home"]["found"] == f"{url} has its home in {theirs}, and this looks at {tmp_path / 'home'}"
    assert found["service home"]["todo"].endswith(f"BALLAST_HOME='{theirs}' ballast doctor")
    of_ours = {name for name, finding in found.items() if finding["found"].endswith(" (here, not of the service)")}
    assert of_ours == {"home", "database", "broker", "checkpoints", "data"}
    assert found["readiness"]["found"] == f"database ok, revision {schema.REVISION}, broker ok"  # the service's
    assert "service home" not in same
    assert "not of the service" not in str(same)


def test_what_lies_on_the_disks_is_counted_and_little_room_is_said(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    for name, size in {"checkpoints/1-1/a": 3000, "checkpoints/1-1/b": 96, "data/x": 2**20}.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(bytes(size))
    found = doctor(tmp_path, database_url=sqlite_url)
    assert found["checkpoints space"]["found"].startswith(f"3.02 KiB in {home}/checkpoints, ")
    assert found["data space"]["found"].startswith(f"1 MiB in {home}/data, ")
    assert found["database space"]["found"].startswith(f"{byte_size(Path(sqlite_url[10:]).stat().st_size)} in ")
    assert "queue space" not in found  # none yet

    monkeypatch.setattr("api.cli.machine.checks.space.LITTLE_SPACE", 2**60)
    assert (
        doctor(tmp_path, database_url=sqlite_url)["data space"]["status"] == "ok"
    )  # of the home's disk, the home says it
    other_disk = Path("/dev/shm")
    if not other_disk.is_dir() or other_disk.stat().st_dev == home.stat().st_dev:
        pytest.skip("this machine has no other disk")
    little = doctor(tmp_path, database_url=sqlite_url, data_dir=other_disk)["data space"]
    assert (little["status"], "ballast gc --dry-run" in little["todo"]) == ("warning", True)


@pytest.mark.parametrize(
    ("size", "said"), [(0, "0 B"), (999, "999 B"), (1000, "0.977 KiB"), (2**20, "1 MiB"), (10**10, "9.31 GiB")]
)
def test_sizes_are_said_to_three_digits(size: int, said: str) -> None:
    assert byte_size(size) == said


def test_lines_into_a_pipe_are_tab_separated(tmp_path: Path) -> None:
    lines = [line.split("\t") for line in typed("doctor", tmp_path=tmp_path).stdout.splitlines()]
    assert lines[0] == ["name", "status", "found", "todo"]
    assert {len(line) for line in lines} == {4}


def test_a_database_behind_stops_work_and_one_ahead_does_not(store: Store, database_url: str, tmp_path: Path) -> None:
    for revision, status, todo in (("0001", "wrong", "ballast db upgrade"), ("9999", "warning", "upgrade Ballast")):
        with store.writing() as tx:
            tx.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": revision})
        database = doctor(tmp_path, status=int(status == "wrong"), database_url=database_url)["database"]
        assert database["status"] == status
        assert f"revision {revision}" in database["found"]
        assert todo in database["todo"]


def test_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database")
    urls = [
        f"sqlite:///{tmp_path / 'file'}",
        f"sqlite:///{tmp_path}",
        f"postgresql://me:secret@127.0.0.1:{free_port()}/x",
        f"postgresql://me@127.0.0.1:{free_port()}/x?password=secret",
        "postgresql://me:secret@127.0.0.1:99999/x",
        "postgresql://127.0.0.1/x?nonsense=secret",
    ]
    for url in urls:
        database = doctor(tmp_path, status=1, database_url=url)["database"]
        assert database["status"] == "wrong"
        assert "BALLAST_DATABASE_URL" in database["todo"]
        assert "secret" not in str(database)


def test_a_disk_without_locks_stops_work(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    env = environment(f"http://127.0.0.1:{free_port()}") | {"BALLAST_HOME": str(home)}
    nolocks = [sys.executable, "-P", str(Path(__file__).parents[2] / "nolocks.py"), str(errno.ENOLCK)]
    command = [*nolocks, *COMMAND, "doctor", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 1
    for name in ("home", "database"):
        assert found[name]["status"] == "wrong"
        assert found[name]["found"] == f"the file system of {home} has no file locks (No locks available)"
        assert "a local disk" in found[name]["todo"]
    assert list(home.iterdir()) == []


def test_a_home_that_cannot_be_written_stops_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file" / "home", "/proc/ballast", "x" * 300):
        found = doctor(tmp_path, status=1, home=home)
        assert found["home"]["status"] == "wrong"
        assert "cannot write to" in found["home"]["found"]
        assert "BALLAST_HOME" in found["home"]["todo"]


def test_settings_that_cannot_be_obeyed_stop_work(tmp_path: Path) -> None:
    found = doctor(tmp_path, status=1, port="x", lease_seconds=1)
    assert set(found) == {"versions", "settings"}
    assert "BALLAST_PORT is not an integer" in found["settings"]["found"]


def test_checkpoints_that_other_hosts_cannot_read(postgres: Postgres, redis_server: Redis, tmp_path: Path) -> None:
    assert doctor(tmp_path)["checkpoints"]["found"] == f"file://{tmp_path}/home/checkpoints"
    for_many = {"database_url": postgres.url_of("postgres"), "broker_url": redis_server.url}
    found = doctor(tmp_path, **for_many)["checkpoints"]
    assert found["status"] == "warning"
    assert "another host cannot go on from there" in found["found"]
    found = doctor(tmp_path, **for_many, checkpoint_url=tmp_path / "everywhere")["checkpoints"]
    assert (found["status"], found["found"]) == ("ok", f"file://{tmp_path}/everywhere")
    found = doctor(tmp_path, checkpoint_url="s4://bucket")["checkpoints"]
    assert found["status"] == "warning"
    assert "checkpoints cannot be reached below s4://bucket" in found["found"]


def test_a_broker_that_answers_and_one_that_does_not(redis_server: Redis, tmp_path: Path) -> None:
    assert doctor(tmp_path, broker_url=redis_server.url)["broker"]["found"] == f"{redis_server.url} answers"
    broker = doctor(tmp_path, broker_url=f"redis://:secret@127.0.0.1:{free_port()}/0")["broker"]
    assert broker["status"] == "warning"
    assert "BALLAST_BROKER_URL" in broker["todo"]
    assert "secret" not in str(broker)


def test_a_broker_that_answers_and_refuses(tmp_path: Path) -> None:
    with Redis() as server:
        server.ask(*["ACL", "SETUSER", "bob", "on", ">secret", "+@all", "~ballast*"])
        url = server.url.replace("redis://", "redis://bob:secret@")
        broker = doctor(tmp_path, broker_url=url)["broker"]
    assert broker["status"] == "warning"
    assert "_kombu.binding.ballast" in broker["found"]
    assert "BALLAST_BROKER_URL" in broker["todo"]
    assert "secret" not in str(broker)


def test_a_queue_folder_is_tried_where_there_is_one_and_made_by_nobody_who_looks(tmp_path: Path) -> None:
    queue = tmp_path / "home" / "queue"
    assert doctor(tmp_path)["broker"]["status"] == "ok"
    assert not queue.exists()
    queue.mkdir(parents=True)
    assert doctor(tmp_path)["broker"] == {**doctor(tmp_path)["broker"], "status": "ok", "found": f"a folder, {queue}"}
    (queue / "messages").rmdir()
    (queue / "messages").write_text("somebody's")
    broker = doctor(tmp_path)["broker"]
    assert broker["status"] == "warning"
    assert f"the queue folder {queue} cannot be used" in broker["found"]


def test_which_data_seem_to_be_there(tmp_path: Path) -> None:
    assert doctor(tmp_path, data_dir=DATA)["data"]["found"].startswith(f"{DATA} seems to hold mnist")
    (tmp_path / "data/folders/pets/train").mkdir(parents=True)
    (tmp_path / "data/FashionMNIST/raw").mkdir(parents=True)  # which holds nothing
    (tmp_path / "data/cifar-10-batches-py").mkdir()
    (tmp_path / "data/cifar-10-batches-py/data_batch_1").touch()
    found = doctor(tmp_path, data_dir=tmp_path / "data")["data"]["found"]
    assert found.endswith("seems to hold cifar10, folders/pets")
    (tmp_path / "file").touch()
    assert "BALLAST_DATA_DIR" in doctor(tmp_path, data_dir=tmp_path / "file")["data"]["todo"]


def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    devices = doctor(tmp_path, device="cuda:99")["devices"]
    assert devices["status"] == "warning"
    assert "cuda:99 is wanted" in devices["found"]


def test_a_service_without_its_database_is_a_service(served: str, store: Store, tmp_path: Path) -> None:
    store.close()
    for file in tmp_path.glob("ballast.db*"):
        file.write_bytes(b"no database" * 1000)
    found = doctor(tmp_path, url=served)
    assert found["service"]["status"] == "ok"
    assert found["workers"]["status"] == "warning"
    assert "the database cannot be used" in found["workers"]["found"]


def test_something_else_at_the_address_is_no_service(tmp_path: Path) -> None:
    answers = (b"[]", b'{"version": 1}', b"\xff", b'{"version": "9"}')
    for content in answers:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        with Server(head.encode() + content) as url:
            service = doctor(tmp_path, url=url)["service"]
        assert service["status"] == "warning"
        assert "no Ballast answers" in service["found"]


def test_those_who_never_answer_are_not_waited_for(tmp_path: Path) -> None:
    """One that answers drop by drop, beside two that say nothing at all."""
    with Server(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10, pause=1) as url, ExitStack() as stack:
        ports = [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(2)]
        settings = {
            "url": url,
            "database_url": f"postgresql://me:secret@127.0.0.1:{ports[0]}/x",
            "broker_url": f"redis://127.0.0.1:{ports[1]}/0",
        }
        command = [*COMMAND, "doctor", "--json"]
        done = subprocess.run(
            command, env=variables(tmp_path, settings), capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        found = findings(done, status=1)
    assert found["service"]["found"] == "no answer within 5 s"
    assert statuses(found) | {"database": "wrong", "broker": "warning", "service": "warning"} == statuses(found)


def test_a_host_without_torch_is_told_so(tmp_path: Path) -> None:
    without = (
        "import importlib.metadata as m; has = m.version\n"
        "def version(name):\n"
        "    if name.startswith('torch'): raise m.PackageNotFoundError(name)\n"
        "    return has(name)\n"
        "m.version = version\n"
        "from api.cli.main import main; main()"
    )
    env = environment(f"http://127.0.0.1:{free_port()}") | {"BALLAST_HOME": str(tmp_path)}
    command = [sys.executable, "-P", "-c", without, "doctor", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert found["torch"]["status"] == "warning"
    assert "[worker]" in found["torch"]["todo"]
    assert "devices" not in found


class Server:
    """Says the same to everybody, a line each `pause` seconds."""

    def __init__(self, answer: bytes, pause: float = 0) -> None:
        self._lines = answer.splitlines(keepends=True)
        self._pause = pause
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            with link:
                link.recv(65536)
                self._say(link)

    def _say(self, link: socket.socket) -> None:
        for line in self._lines:
            try:
                link.sendall(line)
            except OSError:  # whoever asked has gone
                return
            time.sleep(self._pause)
