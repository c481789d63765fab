"""Every `ballast …` line of the READMEs and every example of every `--help`, as it is written, against a real service.

Only numbers are put in: of an experiment or a sweep that is as the command needs it. Addresses of other hosts and GPUs
that are not here are left out. What the README shows as Python is run too.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from api.cli.main import app
from api.client import Refused
from core.states import Ask
from tests.data import DATA, N_IN_DOMAIN
from tests.e2e.processes import COMMAND, DIGITS, Process, Up, ballast, running, wait_for_end
from tests.servers import PATIENCE_S, free_port, wait_until

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
MANUALS = (README, ROOT / "deploy" / "README.md", ROOT / "api" / "README.md")
SERVES = {"up": "Ballast serves", "api": "Ballast serves", "worker": "ready", "demo": "wrote"}
OF_A_SWEEP = ("watch", "figure", "effect", "report")  # whose number is a sweep's
LONG = {**DIGITS, "epochs": 100_000, "eval_every": 1000}
GRID = {"base": DIGITS, "axes": {"seed": [0, 1]}}
IN_THE_STATE = {
    "cancel": "running",
    "pause": "running",
    "resume": "paused",
    "retry": "cancelled",
    "delete": "cancelled",
    "priority": "paused",
}


def lines_of(page: Path) -> list[str]:
    code = [line[4:] for line in page.read_text().splitlines() if line.startswith("    ")]
    return [line.partition("#")[0].strip() for line in code if re.match(r"(BALLAST_\w+=\S+ )*ballast ", line)]


def examples(command: Any, path: str = "ballast") -> Iterator[tuple[str, str]]:
    """The example of every command, beside its name."""
    if not isinstance(command, TyperGroup):
        yield path, (command.epilog or "").removeprefix("Example: ")
        return
    context = command.make_context(path, [], resilient_parsing=True)
    for name in command.list_commands(context):
        yield from examples(command.get_command(context, name), f"{path} {name}")


EXAMPLES = dict(examples(typer.main.get_command(app)))
LINES = list(dict.fromkeys([*(line for page in MANUALS for line in lines_of(page)), *EXAMPLES.values()]))


def test_every_command_has_an_example_of_itself() -> None:
    assert len(EXAMPLES) > 20
    for name, example in EXAMPLES.items():
        assert f"{name} " in f"{example} ", (name, example)


def test_the_manuals_show_every_command() -> None:
    shown = {line.split("ballast ", 1)[1].split()[0] for page in MANUALS for line in lines_of(page)} | {
        "resume",
        "retry",
    }
    assert {name.split()[1] for name in EXAMPLES} - shown <= {"demo", "db"}


def test_a_shell_completes_commands_and_presets(tmp_path: Path) -> None:
    script = """
    eval "$(ballast --show-completion bash)"
    completed() { COMP_WORDS=(ballast "$@"); COMP_CWORD=$#; _ballast_completion ballast; echo "${COMPREPLY[@]}"; }
    completed doc
    completed data f
    completed sweep figure-
    """
    path = f"{Path(COMMAND).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment() | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    commands, data, presets = done.stdout.splitlines()
    assert (commands, data) == ("doctor", "fetch")
    assert "figure-2" in presets.split()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = tmp_path_factory.mktemp("home")
    with running(Up(home, "--workers", "1", data_dir=home / "data")) as process:
        assert ballast("token", "create", "carol", home=home).returncode == 0  # of whom lines speak
        yield process


@pytest.fixture
def nothing_left(up: Up) -> Iterator[None]:
    """The one worker is free for the next line."""
    yield
    for state in ("queued", "paused", "running"):
        for experiment in up.client.experiments(500, state=state):
            with suppress(Refused):  # it has just ended by itself
                up.client.ask(experiment["id"], Ask.CANCEL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "spec.json").write_text(json.dumps(DIGITS))
    return tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("line", LINES)
def test_a_line_does_what_it_says(line: str, up: Up, folder: Path) -> None:
    words = [word for word in shlex.split(line) if not word.startswith("BALLAST_")][1:]
    if words[0] in SERVES:
        serve(words, folder)
        return
    done = subprocess.run(
        [COMMAND, *with_our_numbers(words, up)],
        cwd=folder,
        env=environment(home=up.settings["home"], port=up.settings["port"], data_dir=up.settings["home"]),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout or "--json" not in words
    if "--out" in words:
        assert (folder / words[words.index("--out") + 1]).stat().st_size > 1000


@pytest.mark.slow
def test_the_demo_prints_the_curves_that_it_writes(folder: Path) -> None:
    done = subprocess.run(
        [COMMAND, "demo", "--json"], cwd=folder, env=environment(), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == json.loads((folder / "demo/curves.json").read_text())


@pytest.mark.slow
def test_the_python_of_the_readme_recomputes_the_stored_fractions(folder: Path) -> None:
    """On the part of MNIST that is in the clone."""
    with running(Up(folder / "home", "--workers", "1", data_dir=DATA)) as own:
        experiment = own.client.submit(DIGITS | {"dataset": {"name": "mnist"}, "epochs": 3})
        assert wait_for_end(own.client, experiment["id"])["state"] == "succeeded"
        program = python_of(README, "predict(")
        program = program.replace("(1)", f"({experiment['id']})").replace("(1,", f"({experiment['id']},")
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            env=environment(**own.settings),
            capture_output=True,
            text=True,
            check=True,
        )
        fractions = done.stdout.split()
        stored = own.client.curve(experiment["id"])["base_fraction_in_domain"][-1]
        kept = own.client.predictions(experiment["id"])
    assert len(fractions) == 3
    n = kept["sets"]["in_domain"]["n"]
    assert n == N_IN_DOMAIN
    assert {round(float(fraction) * n) for fraction in fractions} == {round(stored * n)}
    assert kept["epochs"] == [1, 2, 3]


@pytest.mark.slow
def test_the_python_of_a_notebook_trains_on_the_data_that_the_settings_name(folder: Path) -> None:
    program = python_of(ROOT / "core" / "training" / "README.md", "train([Member(spec)]")
    mnist = program.replace('{"name": "digits"}', '{"name": "mnist", "train_per_class": 20, "eval_limit": 50}')
    done = subprocess.run(
        [sys.executable, "-c", mnist.replace('"16:1"', '"16:1", "epochs": 2')],
        cwd=folder,
        env=environment(data_dir=DATA),
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["1", "2"]


@pytest.mark.slow
def test_the_python_of_the_readme_averages_a_sweep_by_weight(up: Up, folder: Path) -> None:
    axes = {"importance_weight": ["16:1", "1:1"], "seed": [0, 1]}
    sweep = up.client.submit_sweep({"base": DIGITS, "axes": axes})["id"]
    wait_until(lambda: up.client.sweep(sweep)["counts"]["succeeded"] == 4)
    program = python_of(README, "client.members(1)").replace("(1)", f"({sweep})")
    done = subprocess.run(
        [sys.executable, "-c", program.replace("http://127.0.0.1:8000", up.client.url)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    means = {
        words[0]: float(words[1])
        for line in done.stdout.splitlines()
        if (words := line.split())[2:4] == ["2", "seeds,"]
    }
    curves = {weight: [] for weight in axes["importance_weight"]}
    for member in up.client.members(sweep):
        values = up.client.curve(member["id"])["base_fraction_out_of_domain"]
        curves[member["spec"]["importance_weight"]].append(sum(values) / len(values))
    assert means == {weight: pytest.approx(sum(own) / 2, abs=0.001) for weight, own in curves.items()}


def python_of(page: Path, containing: str) -> str:
    """The one block that begins with an import and has this in it."""
    blocks = re.findall(r"(?:^(?:    .*)?\n)+", page.read_text(), re.MULTILINE)
    programs = [dedent(block).strip() for block in blocks if containing in block]
    (program,) = [program for program in programs if program.startswith(("import ", "from "))]
    return program


def with_our_numbers(words: list[str], up: Up) -> list[str]:
    """The numbers of an example are somebody else's; ours are of what the command needs."""
    sent = list(words)
    for i, word in enumerate(words):
        if not word.isdigit() or (words[0] == "priority" and i == len(words) - 1):
            continue
        before = words[i - 1]
        if before in ("--sweep", "--into", "--against"):
            sent[i] = str(a_sweep(up, IN_THE_STATE.get(words[0], "succeeded")))
        elif before == "--from":
            sent[i] = str(an_experiment(up, "succeeded"))
        elif not before.startswith("--"):
            state = IN_THE_STATE.get(words[0], "succeeded")
            sent[i] = str(a_sweep(up, state) if words[0] in OF_A_SWEEP else an_experiment(up, state))
    return sent


def an_experiment(up: Up, state: str) -> int:
    number: int = up.client.submit(DIGITS if state == "succeeded" else LONG)["id"]
    bring_to(state, up.client.ask, lambda: {up.client.experiment(number)["state"]}, number)
    return number


def a_sweep(up: Up, state: str) -> int:
    request = GRID if state == "succeeded" else GRID | {"base": LONG}
    number: int = up.client.submit_sweep(request)["id"]
    bring_to(
        state, up.client.ask_sweep, lambda: {name for name, n in up.client.sweep(number)["counts"].items() if n}, number
    )
    return number


def bring_to(state: str, ask: Any, states: Callable[[], set[str]], number: int) -> None:
    """The worker may have begun already: then what is asked takes a moment."""
    asked = {"paused": Ask.PAUSE, "cancelled": Ask.CANCEL}.get(state)
    if asked:
        ask(number, asked)
    if state != "running":
        wait_until(lambda: states() == {state})


def serve(words: list[str], folder: Path) -> None:
    """Started, ready, stopped in order."""
    settings: dict[str, Any] = {"home": folder / "home", "port": free_port()}
    subprocess.run([COMMAND, "db", "upgrade"], env=environment(**settings), check=True, capture_output=True)
    process = Process(*words, log=folder / "log", folder=folder, **settings)
    with running(process):
        wait_until(lambda: SERVES[words[0]] in process.log_text())
        if words[0] != "demo":
            process.send(signal.SIGTERM)
        assert process.popen.wait(PATIENCE_S) == 0, process.log_text()


def environment(**settings: object) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BALLAST_")}
    return inherited | {f"BALLAST_{name.upper()}": str(value) for name, value in settings.items()}
