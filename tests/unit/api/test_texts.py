"""Texts that go through the command line: specs in any of JSON's encodings, answers on any terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from core.states import ErrorKind, State
from core.store import attempts
from core.store.experiments import ExperimentError
from core.store.session import Store
from core.training.programs.data import main
from tests.servers import PATIENCE_S
from tests.unit.api.builders import spec
from tests.unit.api.typed import COMMAND, Ballast, environment
from tests.unit.store.builders import a_worker, claimed

C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


def typed(
    ballast: Ballast, *words: str, sent: bytes = b"", redirected: str = "", **more: str
) -> subprocess.CompletedProcess[bytes]:
    """In a process of its own, whose output is bytes."""
    line = ["/bin/sh", "-c", f'exec "$@" {redirected}', "sh", *COMMAND, *words]
    env = environment(ballast.url) | more
    done = subprocess.run(
        line, cwd=ballast.folder, env=env, input=sent, capture_output=True, check=False, timeout=PATIENCE_S
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_the_command_line_takes_what_http_takes(encoding: str, ballast: Ballast) -> None:
    sent = json.dumps(spec(name="é – 犬"), ensure_ascii=False).encode(encoding)
    answer = httpx2.post(f"{ballast.url}/experiments", content=sent, headers={"Content-Type": "application/json"})
    assert answer.status_code == 201
    ballast("submit", ballast.file(sent))
    ballast("submit", "-", stdin=sent)
    sweep = json.dumps({"base": spec(name="é – 犬"), "axes": {"seed": [1]}}, ensure_ascii=False).encode(encoding)
    ballast("sweep", ballast.file(sweep))
    assert {each["spec"]["name"] for each in ballast.json("list")} == {"é – 犬", "é – 犬 seed 1"}


def test_standard_input_is_read_by_no_locale(ballast: Ballast) -> None:
    sent = json.dumps(spec(name="é"), ensure_ascii=False).encode()
    assert typed(ballast, "submit", "-", sent=sent, PYTHONIOENCODING="latin-1").returncode == 0
    assert ballast.json("show", "1")["name"] == "é"


def test_a_closed_standard_input_is_one_sentence(ballast: Ballast) -> None:
    done = typed(ballast, "submit", "-", redirected="<&-")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"ballast: standard input is not JSON: it is empty\n"


def test_a_sentence_that_nobody_may_read_goes_nowhere_and_not_into_the_pipe(ballast: Ballast) -> None:
    done = typed(ballast, "show", "7", redirected="2>&-")
    assert (done.returncode, done.stdout) == (1, b"")


def test_a_terminal_of_another_encoding_shows_what_it_can(ballast: Ballast, store: Store) -> None:
    a_worker(store, "gpu1", 7)
    done = typed(ballast, "workers", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    assert b"\tgpu1\t7\tcpu\tidle\t?\t" in done.stdout


def test_json_is_the_same_in_every_encoding(ballast: Ballast) -> None:
    ballast("submit", ballast.file(json.dumps(spec(name="é – 犬"))))
    for words in (("show", "1"), ("list",), ("curve", "1"), ("presets",)):
        assert ballast(*words, "--json").isascii()
    assert ballast.json("show", "1")["name"] == "é – 犬"


def test_nothing_that_a_terminal_obeys_comes_out_of_an_error(ballast: Ballast, store: Store) -> None:
    ballast("submit", ballast.file(json.dumps(spec())))
    claim = claimed(store, worker_id=a_worker(store))
    error = ExperimentError(ErrorKind.BAD_DATA, "no image: \x1b[2Jcat\u202egnp\tb\nc", None)
    with store.writing() as tx:
        attempts.finish(tx, claim, None, State.FAILED, error)
    output = ballast("show", "1")
    assert r"bad_data: no image: \x1b[2Jcat\u202egnp\tb\nc" in output
    assert "\x1b" not in output + ballast("show", "1", "--json")
    assert "\x1b" not in ballast("wait", "1", status=4)


def test_names_of_folders_and_images_of_any_bytes_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train", "test"):
        for each in (b"dog", b"caf\xe9", "犬".encode()):
            folder = tmp_path / "folders/pets" / name / os.fsdecode(each)
            folder.mkdir(parents=True)
            (folder / "\x1b[2J\udcff.png").write_text("no image")
    words = ["check", "pets", "--data-dir", str(tmp_path), "--locks-dir", str(tmp_path)]
    command = [sys.executable, "-P", "-m", "core.training.programs.data", *words]
    done = subprocess.run(command, env=os.environ | C_LOCALE, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"\x1b" not in done.stdout + done.stderr
    assert done.stdout.startswith(rb"pets train: caf\udce9 0, dog 0, ? 0")
    assert rb"/\x1b[2J\udcff.png cannot be read as an image" in done.stderr
    assert main([*words, "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["unreadable"]) == 6
