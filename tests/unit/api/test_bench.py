"""`ballast bench` as a user types it: real processes that measure, and where it is kept."""

import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import psutil
import pytest
import structlog

from api.cli.errors import BenchFailed
from api.cli.machine.benchmark.measuring import Device, started, trials
from api.cli.main import main
from core.cost import Place, Rate
from core.opening import sole_service
from core.settings import load_settings
from core.store import benchmarks, schema
from core.store.session import Store
from tests.servers import PATIENCE_S, free_port, wait_until
from tests.unit.api.typed import COMMAND, environment

pytestmark = pytest.mark.usefixtures("a_process")

SMALL = ({"name": "cnn", "width": 2}, {"name": "mlp"})
PROGRAM = "core.training.programs.bench"
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None\nfrom api.cli.main import main; main()"


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """For those who come after: the command configures its process's."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.configure(**before)
    root.handlers = handlers
    root.setLevel(level)


def variables(tmp_path: Path, **settings: object) -> dict[str, str]:
    values = {"home": tmp_path / "home", "device": "cpu", **settings}
    known = environment(f"http://127.0.0.1:{free_port()}")
    return known | {f"BALLAST_{name.upper()}": str(value) for name, value in values.items()}


def bench(*words: str, tmp_path: Path, alone: float = 0, **settings: object) -> subprocess.CompletedProcess[str]:
    """In this process, with small networks: of those of the paper a step takes half a second."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr("api.cli.machine.benchmark.measuring._MODELS", SMALL)
        patch.setattr("api.cli.machine.benchmark.findings._ALONE", alone)  # 0: this machine may be busy
        patch.setattr(os, "environ", variables(tmp_path, **settings))
        patch.setattr(sys, "argv", ["ballast", "bench", "--seconds", "0.05", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    assert "Traceback" not in err.getvalue()
    return subprocess.CompletedProcess(words, int(ended.value.code or 0), out.getvalue(), err.getvalue())


def kept(url: str) -> dict[tuple[str, str], Rate]:
    """Of this host's CPU, by network and precision."""
    here = Place(socket.gethostname(), "cpu")
    with closing(Store(url)) as store, store.reading() as tx:
        return {tuple(network): rate for (place, *network), rate in benchmarks.rates(tx).items() if place == here}


def children(of: int) -> list[psutil.Process]:
    found = []
    for each in psutil.Process(of).children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if PROGRAM in " ".join(each.cmdline()):
                found.append(each)
    return found


def test_a_table_and_three_sentences(tmp_path: Path) -> None:
    done = bench(tmp_path=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    header, *lines = done.stdout.splitlines()
    assert header.split("\t")[:5] == ["device", "network", "precision", "1 train/s", "1 eval/s"]
    table = [line.split("\t") for line in lines if "\t" in line]
    assert [line[:3] for line in table if line[2] == "fp32"] == [["cpu", "cnn 2", "fp32"], ["cpu", "mlp 64", "fp32"]]
    assert all(float(cell) > 0 for line in table for cell in line[3:])
    assert lines[-2].startswith("On cpu ")


def test_json_has_every_rate(tmp_path: Path) -> None:
    done = bench("--json", tmp_path=tmp_path)
    found = json.loads(done.stdout)
    assert found.keys() == {"rates", "paper_seconds", "says"}
    assert found["paper_seconds"] == {}  # these are not its networks
    counts = {row["processes"] for row in found["rates"]}
    assert {row["network"] for row in found["rates"] if row["processes"] == max(counts)} == {"cnn 2", "mlp 64"}
    for row in found["rates"]:
        assert row["error"] is None
        assert row["train_rate_together"] == pytest.approx(row["train_rate"] * row["processes"])
        assert row["epoch_seconds"] == pytest.approx(10_000 / row["train_rate"] + 10_000 / row["evaluate_rate"])


def test_a_gpu_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    done = bench(tmp_path=tmp_path, device="cuda:9")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "ballast: the process that measures on cuda:9 ended: there is no device cuda:9: torch"
    )
    assert done.stderr.count("\n") == 1


def test_without_torch_it_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", WITHOUT_TORCH, "bench"]
    done = subprocess.run(command, env=variables(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "ballast: this host cannot train: pip install -c constraints.txt -e '.[worker]'\n"


def test_a_process_that_was_killed_is_a_sentence_and_takes_the_others_with_it(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    devices = [Device("cpu", None)] * 2
    with started(settings, devices, 0.05) as processes:
        first, second = children(os.getpid())
        first.kill()
        with pytest.raises(BenchFailed, match="the process that measures on cpu ended: killed by SIGKILL"):
            processes.measure(trials(devices)[-1])
        assert second.is_running()
    assert not children(os.getpid())


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_whatever_ends_it_leaves_no_process(number: signal.Signals, status: int, tmp_path: Path) -> None:
    """While they measure: one has taken some seconds of the CPU, and all are there."""
    command = [*COMMAND, "bench", "--seconds", "600" if number == signal.SIGINT else "1"]
    running = subprocess.Popen(command, env=variables(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: len(children(running.pid)) > 0)
    first = children(running.pid)[0]
    wait_until(lambda: first.cpu_times().user > 4)
    left = children(running.pid)
    running.send_signal(number)
    out, said = running.communicate(timeout=PATIENCE_S)
    assert (running.returncode, out, said) == (status, b"", b"")
    _, alive = psutil.wait_procs(left, timeout=PATIENCE_S)
    assert not alive


@pytest.mark.slow
def test_what_all_processes_do_is_kept_in_place_of_what_was(tmp_path: Path, database_url: str) -> None:
    """In a database of each kind."""
    assert bench(tmp_path=tmp_path, database_url=database_url).stderr == ""
    assert kept(database_url).keys() >= {("cnn 2", "fp32"), ("mlp 64", "fp32")}
    done = json.loads(bench("--json", tmp_path=tmp_path, database_url=database_url).stdout)
    most = max(row["processes"] for row in done["rates"])
    measured = [row for row in done["rates"] if row["processes"] == most]
    assert kept(database_url) == {
        (row["network"], row["precision"]): (row["train_rate"], row["evaluate_rate"]) for row in measured
    }


@pytest.mark.slow
def test_an_embedded_database_is_made_or_migrated_as_up_does(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'home' / 'ballast.db'}"
    assert bench(tmp_path=tmp_path).stderr == ""
    assert len(kept(url)) >= 2
    schema.downgrade(url, "0004")
    assert bench(tmp_path=tmp_path).stderr == ""
    assert len(kept(url)) >= 2


@pytest.mark.slow
def test_a_home_that_another_serves_is_left_to_it(tmp_path: Path) -> None:
    """Until it has made the tables: then it is written to beside it."""
    settings = load_settings(home=tmp_path / "home")
    with sole_service(settings):
        done = bench(tmp_path=tmp_path)
        assert done.returncode == 0
        assert done.stderr.startswith("the rates are not kept for `ballast sweep --dry-run`: ")
        assert f"{settings.home} is served already" in done.stderr
        assert not settings.sqlite_file.exists()
        schema.upgrade(settings.database_url)
        assert bench(tmp_path=tmp_path).stderr == ""
    assert kept(settings.database_url)


def test_rates_that_something_else_has_lowered_are_not_kept(tmp_path: Path) -> None:
    done = bench(tmp_path=tmp_path, alone=2)  # which no process can have
    assert done.returncode == 0
    assert "Something else was at work: " in done.stdout
    assert done.stderr == "these rates are not kept for `ballast sweep --dry-run`: they would be too low\n"
    assert not (tmp_path / "home" / "ballast.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize("empty_url", ["postgresql"], indirect=True)
def test_a_postgresql_that_cannot_keep_it_is_said(tmp_path: Path, empty_url: str) -> None:
    done = bench(tmp_path=tmp_path, database_url=empty_url)
    assert (done.returncode, "On cpu" in done.stdout) == (0, True)
    assert "`ballast db upgrade`" in done.stderr
    nobody = f"postgresql://nobody@127.0.0.1:{free_port()}/ballast"
    done = bench(tmp_path=tmp_path, database_url=nobody)
    assert (done.returncode, "On cpu" in done.stdout) == (0, True)
    assert done.stderr.startswith("the rates are not kept for `ballast sweep --dry-run`: ")
    assert done.stderr.count("\n") == 1
