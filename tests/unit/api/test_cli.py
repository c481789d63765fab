"""The commands that speak HTTP, as a user types them: what they print, the exit code, one sentence where they fail."""

import json
import signal
import socket
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from api.cli.main import COMMANDS
from core.store import attempts, leases
from core.store.session import Store
from tests.servers import PATIENCE_S, free_port, wait_until
from tests.unit.api.builders import spec
from tests.unit.api.typed import COMMAND, Ballast, environment
from tests.unit.store.builders import a_worker, claimed, result


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


def test_one_experiment_from_submission_to_its_end(ballast: Ballast, store: Store) -> None:
    file = ballast.file(json.dumps(spec(name="é 16:1")))
    said = ballast("submit", file, "--priority", "5")
    number = said.split()[1]
    assert said == (
        f"experiment {number} is queued: `ballast wait {number}` waits for it, "
        f"`ballast curve {number}` shows how far it is\n"
    )
    assert (
        ballast("list") == "id\tstate\tweight\tseed\tepochs\tbase in\tbase out\tnetwork\ttook\terror\tstarted\t"
        f"data set\tmodel\tname\n{number}\tqueued\t16:1\t0\t0/3\t–\t–\t\t–\t–\t–\tmnist\tcnn\té 16:1\n"
    )

    claim = claimed(store, worker_id=a_worker(store, "gpu1", 7))
    with store.writing() as tx:
        attempts.record(tx, claim, result(1))
    with store.writing() as tx:
        attempts.record(tx, claim, result(2))
    header = "epoch\tbase in-domain\tbase out-of-domain\ttrain loss\taccuracy\n"
    assert ballast("curve", number) == header + "1\t0.5\t0.5\t0.5\t0.95\n2\t0.5\t0.5\t0.25\t0.95\n"
    assert ballast("curve", number, "--after", "1") == header + "2\t0.5\t0.5\t0.25\t0.95\n"
    shown = ballast("show", number)
    for line in (f"id\t{number}", "state\trunning", "worker\tgpu1:7", "priority\t5", "epochs\t2/3"):
        assert line in shown.splitlines()
    assert "\tclaimed\t1\tgpu1:7\t–" in shown
    assert "\tgpu1\t7\tcpu\tidle\t–\t" in ballast("workers")

    assert ballast("cancel", number) == f"experiment {number} is running and will be cancelled within seconds\n"
    with store.writing() as tx:
        leases.release(tx, claim)
    assert ballast("cancel", number) == f"experiment {number} is cancelled\n"


def test_a_spec_that_is_there_already_is_said_to_be(ballast: Ballast) -> None:
    file = ballast.file(json.dumps(spec()))
    assert ballast("submit", file, "--dedupe").startswith("experiment 1 is queued: ")
    assert ballast("submit", file).startswith("experiment 2 is queued: ")
    assert ballast("submit", file, "--dedupe").startswith("experiment 2 was there already and is queued: ")
    assert ballast.json("submit", file, "--dedupe") == ballast.json("show", "2")


def test_json_is_what_the_service_answers(ballast: Ballast) -> None:
    submitted = ballast.json("submit", ballast.file(json.dumps(spec())))
    number = str(submitted["id"])
    assert ballast.json("show", number) == submitted
    assert ballast.json("list") == [submitted]
    assert ballast.json("list", "--state", "running") == []
    assert ballast.json("curve", number)["epoch"] == []
    assert ballast.json("workers") == []
    assert ballast.json("cancel", number)["state"] == "cancelled"
    assert [each["id"] for each in ballast.json("list", "--state", "cancelled", "--importance-weight", "16:1")]


def test_a_spec_may_come_from_standard_input(ballast: Ballast) -> None:
    assert "is queued" in ballast("submit", "-", stdin=json.dumps(spec()))


BAD_FILES = {
    "": "is not JSON",
    "{": "is not JSON",
    "[" * 10_000: "is not JSON",
    "[]": "holds no JSON object",
    '"spec"': "holds no JSON object",
    '{"seed": 1, "seed": 2}': '"seed" is there more than once',
}


def test_a_file_that_is_no_spec_is_one_sentence(ballast: Ballast) -> None:
    for content, words in BAD_FILES.items():
        assert words in ballast("submit", ballast.file(content), status=2)
    assert "is not JSON" in ballast("submit", ballast.file(b"\xff\xfe\x00{"), status=2)
    assert "cannot read missing.json: No such file" in ballast("submit", "missing.json", status=2)
    assert "cannot read .: Is a directory" in ballast("submit", ".", status=2)
    assert ballast.json("list") == []


BAD_SPECS = {
    "{}": "/dataset is missing",
    json.dumps(spec(epochs=0)): "/epochs is out of range: 0 (allowed: an integer from 1 to 1000000)",
    json.dumps(spec(name="\ud800")): "/name",
    '{"seed": ' + "9" * 5000 + "}": "/seed is out of range",
    json.dumps(spec(optimizer={"lr": float("nan")})): "/optimizer/lr is not a finite number",
    json.dumps(spec(name="x" * 2**20)): "the body is larger",
}


def test_a_spec_that_the_service_refuses_is_one_sentence_that_names_the_field(ballast: Ballast) -> None:
    for content, words in BAD_SPECS.items():
        status = 1 if "larger" in words else 2
        assert words in ballast("submit", ballast.file(content), status=status)
    assert ballast.json("list") == []


def test_what_is_not_there_fails_with_one(ballast: Ballast) -> None:
    for command in ("show", "curve", "cancel"):
        assert ballast(command, "99", status=1) == "ballast: there is no experiment 99\n"
    assert "there is no experiment" in ballast("show", "9" * 30, status=1)


def test_words_that_make_no_sense_are_usage(ballast: Ballast) -> None:
    for words in (
        ("nonsense",),
        ("show",),
        ("show", "0"),
        ("show", "x"),
        ("list", "--state", "done"),
        ("list", "--limit", "0"),
        ("submit", "spec.json", "--priority", "101"),
        ("curve", "1", "--after", "-1"),
    ):
        assert "Usage:" in ballast(*words, status=2)


def test_a_service_that_is_not_there_fails_with_three(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ballast = Ballast(url, tmp_path)
    file = ballast.file(json.dumps(spec()))
    for words in (("list",), ("show", "1"), ("submit", file), ("cancel", "1", "--json")):
        assert f"no Ballast service answers at {url}" in ballast(*words, status=3)


def test_an_address_that_is_none_fails_with_one(tmp_path: Path) -> None:
    ballast = Ballast("localhost:8000", tmp_path)
    assert ballast("workers", status=1) == "ballast: BALLAST_URL is not http://HOST:PORT\n"


@pytest.mark.parametrize(("words", "status"), [(("list",), 3), (("submit", "missing.json"), 2), (("nonsense",), 2)])
def test_a_process_of_its_own_ends_with_the_same_codes(tmp_path: Path, words: tuple[str, ...], status: int) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = subprocess.run([*COMMAND, *words], cwd=tmp_path, env=environment(url), capture_output=True, check=False)
    assert done.returncode == status
    assert b"Traceback" not in done.stderr


def test_ctrl_c_ends_with_130_and_no_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [*COMMAND, "workers"], cwd=tmp_path, env=environment(url), stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        link, _ = listener.accept()  # it has asked, and waits for ever
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
        link.close()
    assert process.returncode == 130
    assert b"Traceback" not in said


@pytest.mark.parametrize("seconds", [0, 0.3, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.1, 0.6))])
@pytest.mark.parametrize("words", [("list",), ("doctor",), ("wait", "1"), ("worker",)])
def test_ctrl_c_at_any_moment_prints_no_traceback(tmp_path: Path, words: tuple[str, ...], seconds: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # never answers
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=tmp_path,
            env=environment(url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # Before, Python begins, and has not read a line of ours.
        wait_until(lambda: "pydantic_core" in Path(f"/proc/{process.pid}/maps").read_text())
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in said
    assert process.returncode == 130 or said  # it was faster, and says what it found


def test_a_weight_that_is_seldom_meant_is_warned_of_beside_the_answer(ballast: Ballast) -> None:
    loss = {"name": "cross_entropy", "normalization": "batch_size"}
    ballast.file(json.dumps(spec(loss=loss)))
    done = subprocess.run(
        [*COMMAND, "submit", "spec.json", "--json"],
        cwd=ballast.folder,
        env=environment(ballast.url),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.startswith("warning: normalization batch_size multiplies the learning rate by up to 16")
    assert json.loads(done.stdout)["state"] == "queued"


def test_the_help_of_each_command_has_an_example(ballast: Ballast) -> None:
    for command in ("submit", "list", "show", "curve", "cancel", "workers"):
        assert f"Example: ballast {command}" in ballast(command, "--help")


def test_every_command_is_in_the_table_from_which_it_is_found() -> None:
    for module in set(COMMANDS.values()):
        app = import_module(module).app
        here = [each.name or each.callback.__name__.replace("_", "-") for each in app.registered_commands]
        here += [each.name for each in app.registered_groups]
        assert sorted(here) == sorted(name for name, its_module in COMMANDS.items() if its_module == module), module


def test_what_speaks_http_waits_for_none_of_the_services_libraries(tmp_path: Path, served: str) -> None:
    heavy = (
        "sqlalchemy",
        "psycopg",
        "celery",
        "kombu",
        "redis",
        "fastapi",
        "uvicorn",
        "pydantic_settings",
        "core.spec",
    )
    for words in (["list"], ["show", "--sweep", "1"], ["--help"], ["up", "--help"], ["doctor", "--help"]):
        program = (
            f"import sys\nsys.argv = {['ballast', *words]}\nfrom api.cli import ballast\n"
            f"try:\n    ballast()\nfinally:\n    print([name for name in {heavy} if name in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", program],
            cwd=tmp_path,
            env=environment(served),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.splitlines()[-1:] == ["[]"], (words, done.stdout, done.stderr)
