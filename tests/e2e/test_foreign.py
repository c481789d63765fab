"""Whatever the environment holds for other programs, each command does what it does without: one hostile environment of
every library that we load, a real service, and every command under it.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from api.client import Client
from tests.e2e.processes import (
    COMMAND,
    DIGITS,
    ENDLESS,
    FAST,
    Process,
    Up,
    ballast,
    is_ready,
    reproducible_part,
    running,
    wait_for_end,
)
from tests.e2e.test_commands import EXAMPLES
from tests.servers import free_port, wait_until

NOWHERE = "amqp://nobody@127.0.0.1:1//"
SPEC = DIGITS | {"epochs": 2}


def hostile_variables(folder: Path) -> dict[str, str]:
    strangers = folder / "strangers"
    for package in ("api", "core", "worker"):
        (strangers / package).mkdir(parents=True)
        (strangers / package / "__init__.py").write_text("raise SystemExit('a stranger of this name')")
    rc = folder / "matplotlibrc"
    rc.write_bytes(b"backend: \xff")
    repository = folder / "repository"
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    return {
        **dict.fromkeys(("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"), NOWHERE),
        "BROKER_URL": NOWHERE,
        "RESULT_BACKEND": "nonsense://",
        "CELERY_RESULT_BACKEND": "nonsense://",
        **dict.fromkeys(("CELERY_LOADER", "LOADER", "CELERY_CONFIG_MODULE", "CONFIG_MODULE", "APP"), "nonsense"),
        "CELERY_CUSTOM_WORKER_POOL": "nonsense:Pool",
        "DJANGO_SETTINGS_MODULE": "nonsense",
        "C_STRICT_APP": "1",
        "REMAP_SIGTERM": "SIGQUIT",
        "AUTOSCALE_KEEPALIVE": "x",
        "PICKLE_PROTOCOL": "x",
        "KOMBU_LOG_DEBUG": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MATPLOTLIBRC": str(rc),
        "WEB_CONCURRENCY": "",
        "FORWARDED_ALLOW_IPS": "*",
        "UVICORN_PORT": "1",
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
        "GIT_DIR": str(repository / ".git"),
        "GIT_WORK_TREE": str(repository),
        "GIT_CONFIG_COUNT": "x",
        "GIT_INDEX_FILE": str(folder / "index"),
        "PSYCOPG_IMPL": "nonsense",
        "PSYCOPG_WAIT_FUNC": "nonsense",
        "OMP_NUM_THREADS": "3",
        "OMP_DYNAMIC": "true",
        "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
        **dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:1"),
        **dict.fromkeys(("ALEMBIC_CONFIG", "SQLITE_TMPDIR", "FSSPEC_CONFIG_DIR", "PYTHONSTARTUP"), "/nowhere"),
        "PYTHONWARNINGS": "error",
        "PYTHONPATH": str(strangers),
        "PYTHONSAFEPATH": "1",
        "TERMINAL_WIDTH": "wide",
        "TYPER_USE_RICH": "perhaps",
        "TYPER_STANDARD_TRACEBACK": "1",
        "NETRC": "/nowhere",
    }


@pytest.fixture(scope="module", autouse=True)
def hostile_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    others = hostile_variables(tmp_path_factory.mktemp("hostile"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in others.items():
            patch.setenv(name, value)
        yield others


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """With a sweep of two that have succeeded, experiments 1 and 2."""
    home = tmp_path_factory.mktemp("home")
    with running(Up(home, "--workers", "1", data_dir=home / "data")) as process:
        process.client.submit_sweep({"name": "s", "base": SPEC, "axes": {"seed": [0, 1]}})
        for number in (1, 2):
            assert wait_for_end(process.client, number)["state"] == "succeeded"
        yield process


FEW = ("list", "doctor", "figure 1 --out f.svg", "effect 1", "run spec.json", "submit spec.json", "--help")
ALL = (
    *(
        "--version",
        "workers",
        "show 1",
        "curve 1",
        "predictions 1",
        "report 1 --out report.md",
        "weights 1",
        "presets",
        "sweep grid.json",
        "watch 1",
        "wait 1",
        "extend 1 --epochs 3",
        "extend --sweep 1 --epochs 3",
    ),
    *(
        "priority --sweep 2 3",
        "pause --sweep 2",
        "resume --sweep 2",
        "retry --sweep 2",
        "cancel --sweep 2",
        "delete --sweep 1",
    ),
    *(
        "db check",
        "db upgrade",
        "token create carol --max-running 4",
        "token limit carol --per-minute 600",
        "data check digits",
        "data fetch digits",
        "bench --seconds 0.05",
        "demo --workers 1 --out d",
    ),
)
SERVING = ("up", "api", "worker")


def test_what_is_trained_is_heard_on_our_broker_and_says_whose_code_and_threads_it_had(up: Up) -> None:
    provenance = up.client.experiment(1)["provenance"]
    assert provenance["threads"] == 1
    assert provenance["code"]["commit"] == commit_of_this_clone()
    assert not list((Path(str(up.settings["home"])) / "queue" / "messages").glob("*.ballast.msg"))
    assert up.client.ready()["broker"] == "ok"
    assert "no ring can be sent" not in up.log_text()
    assert "no rings are heard" not in up.log_text()


def test_the_commands_that_most_libraries_stand_behind_work(up: Up, tmp_path: Path) -> None:
    for line in FEW:
        run_line(line, up, tmp_path)


@pytest.mark.slow
def test_every_other_command_works_too(up: Up, tmp_path: Path) -> None:
    first_words = {line.split()[0] for line in (*FEW, *ALL, *SERVING)}
    assert {name.split()[1] for name in EXAMPLES} <= first_words
    for line in ALL:
        run_line(line, up, tmp_path)


@pytest.mark.slow
def test_api_and_worker_work_on_their_own(tmp_path: Path) -> None:
    settings = {"home": tmp_path, "port": free_port(), **FAST}
    assert ballast("db", "upgrade", **settings).returncode == 0
    with (
        running(Process("api", log=tmp_path / "api", **settings)) as api,
        running(Process("worker", "--processes", "1", log=tmp_path / "worker", **settings)) as worker,
        closing(Client(f"http://127.0.0.1:{settings['port']}")) as client,
    ):
        wait_until(lambda: is_ready(client, api) and is_ready(client, worker))
        assert wait_for_end(client, client.submit(SPEC)["id"])["state"] == "succeeded"


@pytest.mark.slow
def test_no_bit_of_a_curve_depends_on_it(
    tmp_path: Path, hostile_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))

    def curve_of_run() -> dict[str, Any]:
        done = ballast("run", str(tmp_path / "spec.json"), "--json", home=tmp_path, threads=2, device="cpu")
        assert done.returncode == 0, done.stderr
        return reproducible_part(json.loads(done.stdout))

    with_others = curve_of_run()
    for name in hostile_environment:
        monkeypatch.delenv(name)
    assert with_others == curve_of_run()


def run_line(line: str, up: Up, folder: Path) -> None:
    (folder / "spec.json").write_text(json.dumps(SPEC))
    (folder / "grid.json").write_text(json.dumps({"name": "g", "base": ENDLESS, "axes": {"seed": [5]}}))
    settings = {"home": up.settings["home"], "port": up.settings["port"], "device": "cpu"}
    done = subprocess.run(
        [COMMAND, *line.split()],
        cwd=folder,
        env={**os.environ, **{f"BALLAST_{name.upper()}": str(value) for name, value in settings.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, (line, done.stderr)
    assert "arning" not in done.stderr, (line, done.stderr)  # of a library


def commit_of_this_clone() -> str | None:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(Path(__file__).parents[2]), "rev-parse", "HEAD"]
    done = subprocess.run(command, env=mine, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
