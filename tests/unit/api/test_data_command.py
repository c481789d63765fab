"""`ballast data` as a user types it: settings reach the process that looks, its words and its exit code come back."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.data import DATA
from tests.servers import PATIENCE_S, free_port, wait_until
from tests.unit.api.typed import COMMAND, environment

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None\nfrom api.cli.main import main; main()"


def with_settings(tmp_path: Path, data_dir: Path | None = None) -> dict[str, str]:
    where = {"BALLAST_HOME": str(tmp_path), "BALLAST_DATA_DIR": str(data_dir or tmp_path / "data")}
    return environment(f"http://127.0.0.1:{free_port()}") | where


def data(*words: str, tmp_path: Path, data_dir: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "data", *words]
    env = with_settings(tmp_path, data_dir)
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done


def test_a_data_set_that_is_there_is_counted_and_not_fetched_again(tmp_path: Path) -> None:
    done = data("fetch", "mnist", tmp_path=tmp_path, data_dir=DATA)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("mnist is ready\n")
    done = data("check", "mnist", "--json", tmp_path=tmp_path, data_dir=DATA)
    assert done.returncode == 0
    assert json.loads(done.stdout)["sets"]["train"]["1"] == 200


@pytest.mark.slow
def test_what_is_not_there_fails_with_one_and_says_what_to_do(tmp_path: Path) -> None:
    done = data("check", "cifar10", tmp_path=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "`ballast data fetch cifar10`" in done.stderr
    assert str(tmp_path / "data") in done.stderr
    done = data("check", "cifar10", "--json", tmp_path=tmp_path)
    assert done.returncode == 1
    assert not json.loads(done.stdout)["ok"]


@pytest.mark.slow
def test_a_name_that_makes_no_sense_is_usage(tmp_path: Path) -> None:
    mistyped = data("fetch", "mnits", tmp_path=tmp_path)
    assert mistyped.returncode == 2
    assert "mnist" in mistyped.stderr
    for words in (("check", "../x"), ("remove", "mnist")):
        assert data(*words, tmp_path=tmp_path).returncode == 2, words


@pytest.mark.slow
def test_a_folder_may_be_named_like_an_option(tmp_path: Path) -> None:
    done = data("check", "--", "--json", tmp_path=tmp_path)
    assert done.returncode == 1
    assert f"no folder {tmp_path / 'data/folders/--json'}" in done.stderr


def test_without_torch_it_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", WITHOUT_TORCH, "data", "check", "digits"]
    done = subprocess.run(command, env=with_settings(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "ballast: this host cannot train: pip install -c constraints.txt -e '.[worker]'\n"


def test_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    """While it waits for another process that holds the data set's lock."""
    held = (
        "import sys, time; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); time.sleep(100)"
    )
    (tmp_path / "locks").mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", held, str(tmp_path / "locks" / "mnist.lock")], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"held\n"
        command = [*COMMAND, "data", "fetch", "mnist"]
        waiting = subprocess.Popen(command, env=with_settings(tmp_path), stderr=subprocess.PIPE)
        wait_until(lambda: "core.training.programs.data" in " ".join(psutil.Process(waiting.pid).cmdline()))
        time.sleep(0.5)  # Python starts anew: then it listens
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=PATIENCE_S)
        holder.kill()
    assert waiting.returncode == 130
    assert said == b""
