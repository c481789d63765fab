"""Sweeps on the command line: what they send, what they print, and the exit code, over a real service."""

import json
import os
import pty
import re
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from api.cli.http.dry_run import cost_in_words
from api.cli.http.tables import short_local_time
from api.client import Client
from core.results import Predictions
from core.states import ErrorKind, State
from core.store import attempts, leases
from core.store.experiments import ExperimentError
from core.store.session import Store
from tests.servers import PATIENCE_S
from tests.unit.api.typed import COMMAND, Ballast, environment
from tests.unit.store.builders import PROVENANCE, claimed, result


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


SPEC = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "importance_weight": "1:1", "epochs": 3}
GRID = {"base": SPEC, "axes": {"importance_weight": ["16:1", "1:16"], "seed": [0, 1]}}


def specs_of(ballast: Ballast, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ballast.json("sweep", *words, "--dry-run")["specs"]
    return found


def submit_grid(ballast: Ballast) -> int:
    made: int = ballast.json("sweep", ballast.file(json.dumps(GRID), "grid.json"))["id"]
    return made


def finish_head_of_queue(store: Store, state: State = State.SUCCEEDED, kind: ErrorKind = ErrorKind.BAD_DATA) -> None:
    """The head of the queue, to its end."""
    claim = claimed(store)
    error = ExperimentError(kind, "so it was") if state is State.FAILED else None
    with store.writing() as tx:
        attempts.record(tx, claim, result(1, predictions=Predictions(b"1", b"0")), epoch_seconds=1.0)
        attempts.record(tx, claim, result(2))
        attempts.finish(tx, claim, result(3), state, error)


NOT_KNOWN = (
    "how long they take is not known: no epoch of their kind has been measured on a device of a worker that is alive; "
    "`ballast bench` measures the paper's networks"
)


class TestSweep:
    def test_a_preset_takes_changes_axes_and_seeds(self, ballast: Ballast) -> None:
        found = specs_of(
            ballast,
            *("figure-2", "--set", "epochs=8", "--set", "model.width=16", "--set", "dataset.train_per_class=200"),
            *("--axis", "optimizer.weight_decay=0,0.001", "--seeds", "2"),
        )
        assert len(found) == 5 * 2 * 2
        assert {spec["epochs"] for spec in found} == {8}
        assert {spec["model"]["width"] for spec in found} == {16}
        assert {spec["dataset"]["train_per_class"] for spec in found} == {200}
        assert [(spec["optimizer"]["weight_decay"], spec["seed"]) for spec in found[:4]] == [
            *((0.0, 0), (0.0, 1), (0.001, 0), (0.001, 1))
        ]

    def test_weights_as_drawn(self, ballast: Ballast) -> None:
        assert len(specs_of(ballast, "figure-3", "--as-drawn")) == 4

    def test_a_file_is_a_sweep_or_a_spec_that_becomes_the_base(self, ballast: Ballast) -> None:
        assert len(specs_of(ballast, ballast.file(json.dumps(GRID)))) == 4
        found = specs_of(ballast, ballast.file(json.dumps(SPEC)), "--axis", "importance_weight=16:1,2:1")
        assert [spec["importance_weight"] for spec in found] == ["16:1", "2:1"]
        assert "2 experiments" in ballast("sweep", "-", "--seeds", "2", "--dry-run", stdin=json.dumps(SPEC))

    def test_values_are_json_or_text(self, ballast: Ballast) -> None:
        file = ballast.file(json.dumps(SPEC))
        found = specs_of(ballast, file, "--axis", 'dataset.base_class=["3","5"]', "--set", "batch_size=null")
        assert [spec["dataset"]["base_class"] for spec in found] == ["3", "5"]
        assert {spec["batch_size"] for spec in found} == {None}
        models = specs_of(ballast, file, "--axis", 'model=[{"name":"linear"},{"name":"cnn","width":4}]')
        assert [spec["model"]["name"] for spec in models] == ["linear", "cnn"]

    def test_values_between_commas_may_be_objects_with_commas_of_their_own(self, ballast: Ballast) -> None:
        axis = 'model={"name":"linear"},{"name":"cnn","width":4}'
        found = specs_of(ballast, ballast.file(json.dumps(SPEC)), "--axis", axis)
        assert [spec["model"]["name"] for spec in found] == ["linear", "cnn"]

    def test_a_dry_run_is_a_table_of_what_differs_and_a_count(self, ballast: Ballast) -> None:
        file = ballast.file(json.dumps({**SPEC, "name": "all the same"}))
        axes = ("--axis", "optimizer.weight_decay=0,0.001", "--seeds", "2")
        assert ballast("sweep", file, *axes, "--dry-run").splitlines() == [
            "weight\tseed\twhat differs",
            "1:1\t0\tweight_decay 0",
            "1:1\t1\tweight_decay 0",
            "1:1\t0\tweight_decay 0.001",
            "1:1\t1\tweight_decay 0.001",
            "4 experiments: digits, mlp, epochs 3",
            NOT_KNOWN,
        ]
        assert ballast("sweep", file, "--set", "batch_size=8", "--dry-run").splitlines()[-2:] == [
            "1 experiment: digits, mlp, batch_size 8, epochs 3",
            NOT_KNOWN,
        ]
        assert ballast.json("list", "--sweeps") == []

    def test_growth_is_tried(self, ballast: Ballast) -> None:
        submit_grid(ballast)
        grow = ("sweep", "--into", "1", "--seeds", "3")
        assert ballast(*grow, "--dry-run").splitlines()[1:] == [
            "16:1\t2\t",
            "1:16\t2\t",
            "2 experiments: digits, mlp, epochs 3",
            NOT_KNOWN,
        ]
        assert ballast(*grow).startswith("sweep 1 has 6 experiments now, 2 of them new: ")
        assert ballast(*grow, "--dry-run") == "nothing that is not there already\n"
        assert ballast(*grow).startswith("sweep 1 has 6 experiments now, 0 of them new: ")

    def test_what_varies_is_not_set(self, ballast: Ballast) -> None:
        file = ballast.file(json.dumps(GRID))
        assert "seed varies" in ballast("sweep", file, "--set", "seed=5", status=2)
        assert "seed varies" in ballast("sweep", "figure-2", "--set", "seed=5", "--seeds", "2", status=2)
        models = ballast.file(json.dumps(GRID | {"axes": {"model": [{"name": "linear"}]}}), "models.json")
        assert "model varies" in ballast("sweep", models, "--set", "model.name=mlp", status=2)
        inside = ("--set", 'model={"name":"mlp"}', "--axis", "model.hidden=16,32")
        found = specs_of(ballast, "figure-2", "--set", "dataset.name=digits", *inside)
        assert [spec["model"]["hidden"] for spec in found[:2]] == [16, 32]
        assert len(specs_of(ballast, "figure-2", "--set", "importance_weight=2:1")) == 1

    def test_a_loss_is_set_and_its_fields_vary(self, ballast: Ballast) -> None:
        file = ballast.file(json.dumps(SPEC))
        found = specs_of(ballast, file, "--set", "loss.name=focal", "--axis", "loss.gamma=0,1,2")
        assert [(spec["loss"]["name"], spec["loss"]["gamma"]) for spec in found] == [
            *(("focal", 0), ("focal", 1), ("focal", 2))
        ]
        found = specs_of(ballast, "figure-2", "--set", "loss.name=polynomial", "--axis", "loss.weight_exponent=1,1.5")
        assert [spec["loss"]["weight_exponent"] for spec in found[:2]] == [1, 1.5]
        axis = ("--axis", "loss.name=cross_entropy,vs,ldam", "--dry-run")
        assert ballast("sweep", file, *axis).splitlines()[1:4] == [
            "1:1\t0\tcross_entropy",
            "1:1\t0\tvs",
            "1:1\t0\tldam",
        ]
        assert "/axes/loss.gamma/0 is not a field" in ballast("sweep", file, "--axis", "loss.gamma=1", status=2)

    def test_a_class_needs_no_quotes(self, ballast: Ballast) -> None:
        file = ballast.file(json.dumps(SPEC))
        found = specs_of(ballast, file, "--axis", "dataset.base_class=3,5", "--set", "dataset.other_class=7")
        assert [(spec["dataset"]["base_class"], spec["dataset"]["other_class"]) for spec in found] == [
            *(("3", "7"), ("5", "7"))
        ]
        for words in ("3, 5", "[3,5]", '["3","5"]', '"3","5"'):
            again = specs_of(ballast, file, "--axis", f"dataset.base_class={words}", "--set", "dataset.other_class=7")
            assert again == found
        assert {spec["name"] for spec in specs_of(ballast, file, "--set", "name=123")} == {"123"}
        assert specs_of(ballast, file, "--set", 'dataset.base_class="3"')[0]["dataset"]["base_class"] == "3"

    @pytest.mark.parametrize("sent", [{"base": "abc"}, {"base": SPEC, "axes": ["x"]}, {"base": [1], "axes": 5}])
    def test_a_file_of_another_shape_is_refused_in_a_sentence(self, ballast: Ballast, sent: dict[str, Any]) -> None:
        file = ballast.file(json.dumps(sent))
        for words in (("--set", "epochs=1"), ("--seeds", "2"), ()):
            err = ballast("sweep", file, *words, status=2)
            assert "Traceback" not in err
        assert "Traceback" not in ballast("sweep", file, "--set", "a." * 3000 + "a=1", status=2)

    def test_json_and_watch_are_json_lines(self, ballast: Ballast) -> None:
        submit_grid(ballast)
        ballast("cancel", "--sweep", "1")
        refused = subprocess.run(
            [*COMMAND, "sweep", "--into", "1", "--axis", "seed=0,1", "--watch", "--json"],
            env=environment(ballast.url),
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [json.loads(line) for line in refused.stdout.splitlines()]
        assert refused.returncode == 4
        assert [line.get("state") for line in lines] == [None, *["cancelled"] * 4]

    def test_it_is_queued_named_and_grows(self, ballast: Ballast) -> None:
        said = ballast("sweep", ballast.file(json.dumps(GRID)), "--name", "mine", "--priority", "3")
        assert said == "sweep 1 is queued with 4 experiments: follow it with `ballast watch 1`\n"
        assert ballast("list", "--sweep", "1").splitlines()[-1].startswith("1\tqueued\t16:1\t0\t")
        assert "sweep 1 has 6 experiments now, 2 of them new: follow" in ballast("sweep", "--into", "1", "--seeds", "3")
        assert [member["priority"] for member in ballast.json("list", "--sweep", "1")] == [0, 0, 3, 3, 3, 3]
        made = short_local_time(ballast.json("show", "--sweep", "1")["created_at"])
        assert ballast("list", "--sweeps").splitlines()[1].split("\t") == ["1", "mine", "6 queued", "0/18", made, "–"]

    def test_a_list_says_that_there_is_more(self, ballast: Ballast) -> None:
        submit_grid(ballast)
        for words in (("list", "--limit", "3"), ("list", "--sweep", "1", "--limit", "3")):
            listed = subprocess.run(
                [*COMMAND, *words], env=environment(ballast.url), capture_output=True, text=True, check=True
            )
            assert len(listed.stdout.splitlines()) == 4
            assert listed.stderr == "these are the newest 3: there are more, and --limit shows them\n"
        assert len(ballast.json("list", "--limit", "4")) == 4

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("figure-9",), "there are figure-1, figure-2"),
            ((), "give a preset (figure-1"),
            (("figure-2", "--set", "epochs"), "is not PATH=VALUE"),
            (("figure-2", "--axis", "=1"), "is not PATH=VALUE"),
            (("figure-2", "--axis", "sede=1"), "/axes/sede/0 is not a field"),
            (("figure-2", "--axis", "seed=[]"), "/axes/seed is an empty list"),
            (("figure-2", "--set", "epochs=0"), "/base/epochs is out of range"),
            (("figure-2", "--axis", "seed=1,1"), "/axes/seed/1 makes a member that there is already"),
            (("figure-2", "--seeds", "10000"), "/axes make 50000 members"),
            (("x" * 5000,), "is neither a file nor a preset"),
            (("figure-2", "--axis", "seed=1", "--seeds", "2"), "an axis is given twice"),
            (
                ("figure-2", "--set", "optimizer=1", "--set", "optimizer.lr=2"),
                "lr would lie inside 1, which",
            ),
            (("figure-2", "--set", "epochs=5", "--set", "epochs=6"), "a field is set twice"),
            (("--into", "1", "--set", "epochs=3"), "grows by --axis and --seeds only"),
            (("--into", "1", "--dedupe"), "grows by --axis and --seeds only"),
            (("figure-2", "--from", "1"), "or --from with an experiment"),
            (("grid.json", "--as-drawn"), "means nothing without a preset"),
            (("list.json",), "holds no JSON object"),
            (("broken.json",), "is not JSON"),
        ],
        ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
    )
    def test_a_mistake_is_said_in_a_sentence_and_makes_nothing(
        self,
        ballast: Ballast,
        words: tuple[str, ...],
        said: str,
    ) -> None:
        ballast.file(json.dumps(GRID), "grid.json")
        ballast.file("[1]", "list.json")
        ballast.file("{", "broken.json")
        refusal = " ".join(ballast("sweep", *words, status=2).replace("│", " ").split())
        assert said in refusal
        assert ballast.json("list", "--sweeps") == []

    def test_what_is_no_sweep_is_said(self, ballast: Ballast) -> None:
        for words in (
            *(
                ("list", "--sweep", "7"),
                ("show", "--sweep", "7"),
                ("cancel", "--sweep", "7"),
                ("watch", "7"),
                ("figure", "7"),
            ),
            *(("delete", "--sweep", "7"), ("sweep", "--into", "7", "--seeds", "2"), ("wait", "--sweep", "7")),
        ):
            assert "there is no sweep 7" in ballast(*words, status=1)


def at_a_terminal(ballast: Ballast, *words: str, typed: str = "", columns: int = 200) -> tuple[int, str]:
    """The exit code of a command, and what the terminal showed."""
    keyboard, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *words],
        env=environment(ballast.url) | {"COLUMNS": str(columns), "LINES": "50", "NO_COLOR": "1", "TERM": "dumb"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    os.write(keyboard, typed.encode())
    said = b""
    with suppress(OSError):  # nobody writes to it any more
        while part := os.read(keyboard, 1024):
            said += part
    os.close(keyboard)
    return process.wait(), said.decode()


def events_of(ballast: Ballast, number: int) -> list[dict[str, Any]]:
    client = Client(ballast.url)
    found = client.events(number)
    client.close()
    return found


class TestFromWhatIsThere:
    def test_an_experiment_is_submitted_with_changes(self, ballast: Ballast) -> None:
        ballast("submit", ballast.file(json.dumps({**SPEC, "name": "the first"})), "--set", "seed=3")
        first = ballast.json("show", "1")
        assert first["spec"]["seed"] == 3
        second = ballast.json("submit", "--from", "1", "--set", "optimizer.lr=0.05", "--set", "name=slower")
        optimizer = first["spec"]["optimizer"] | {"lr": 0.05}
        assert second["spec"] == first["spec"] | {"name": "slower", "optimizer": optimizer}
        assert ballast("submit", "--from", "1", "--dedupe").startswith("experiment 1 was there already and is queued")
        assert ballast.json("submit", "--from", "1")["name"] == ""  # which told of another
        assert "there is no experiment 9" in ballast("submit", "--from", "9", status=1)
        assert "/optimizer/lr is out of range" in ballast("submit", "--from", "1", "--set", "optimizer.lr=-1", status=2)
        for words in ((), ("spec.json", "--from", "1")):
            assert "--from with the number" in " ".join(ballast("submit", *words, status=2).replace("│", " ").split())

    def test_another_model_or_data_set_takes_the_place_of_what_was_there(self, ballast: Ballast) -> None:
        ballast("submit", ballast.file(json.dumps(SPEC)))
        other = ballast.json("submit", "--from", "1", "--set", "model.name=cnn", "--set", "dataset.name=mnist")["spec"]
        assert (other["model"]["name"], other["model"]["width"], other["dataset"]["name"]) == ("cnn", 64, "mnist")
        found = specs_of(ballast, "--from", "1", "--axis", "model.name=resnet,linear")
        assert [spec["model"]["name"] for spec in found] == ["resnet", "linear"]
        ballast("submit", "--from", "1", "--set", "model.hidden=8")
        assert "/model/hidden is not a field: 8" in ballast(
            "submit", "--from", "3", "--set", "model.name=cnn", status=2
        )

    def test_it_is_the_base_of_a_sweep(self, ballast: Ballast) -> None:
        ballast("submit", ballast.file(json.dumps({**SPEC, "name": "the first"})))
        found = specs_of(ballast, "--from", "1", "--axis", "importance_weight=4:1,1:4", "--set", "epochs=5")
        assert [(spec["importance_weight"], spec["epochs"], spec["name"]) for spec in found] == [
            *(("4:1", 5, "4:1"), ("1:4", 5, "1:4"))
        ]

    def test_a_sweep_is_made_only_once(self, ballast: Ballast, store: Store) -> None:
        grid = ballast.file(json.dumps(GRID), "grid.json")
        assert ballast("sweep", grid, "--dedupe").startswith("sweep 1 is queued with 4 experiments")
        assert ballast("sweep", grid, "--dedupe", "--name", "again") == "sweep 1 has 4 queued\n"
        assert ballast("sweep", grid, "--dedupe", "--dry-run") == "nothing that is not there already\n"
        # Written otherwise, it is the same.
        other = {"base": {**SPEC, "seed": 0}, "axes": {"seed": [1, 0], "importance_weight": ["1:16", "16:1"]}}
        assert ballast.json("sweep", ballast.file(json.dumps(other)), "--dedupe")["id"] == 1
        finish_head_of_queue(store, State.FAILED)  # a failure is a result
        assert ballast.json("sweep", grid, "--dedupe")["id"] == 1
        assert ballast.json("sweep", grid, "--dedupe", "--seeds", "3")["id"] == 2
        assert ballast.json("sweep", grid)["id"] == 3
        ballast("cancel", "4")
        assert ballast.json("sweep", grid, "--dedupe")["id"] == 3
        ballast("cancel", "--sweep", "3")
        assert ballast.json("sweep", grid, "--dedupe")["id"] == 4


class TestLists:
    def test_a_line_says_what_became_of_each(self, ballast: Ballast, store: Store) -> None:
        submit_grid(ballast)
        finish_head_of_queue(store)
        finish_head_of_queue(store, State.FAILED)
        claim = claimed(store)
        with store.writing() as tx:
            attempts.record(tx, claim, result(1), epoch_seconds=40.0)
        titles, *rows = (line.split("\t") for line in ballast("list").splitlines())
        lines = [dict(zip(titles, row, strict=True)) for row in rows]
        assert [line["state"] for line in lines] == ["queued", "running", "failed", "succeeded"]
        assert [(line["base in"], line["base out"]) for line in lines] == [("–", "–"), *[("0.500", "0.500")] * 3]
        assert [line["error"] for line in lines] == ["–", "–", "bad_data", "–"]
        assert [line["took"] for line in lines[:2]] == ["–", "0:01:20 left"]
        assert all(re.fullmatch(r"\d\.\d s|0:00:\d\d", line["took"]) for line in lines[2:])
        first = ballast.json("show", "1")
        assert lines[3]["started"] == short_local_time(first["started_at"])
        assert first["last_row"] == {
            "epoch": 3,
            "base_fraction_in_domain": 0.5,
            "base_fraction_out_of_domain": 0.5,
        }

    @pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
    def test_on_a_terminal_each_takes_one_line(self, ballast: Ballast, store: Store, columns: int) -> None:
        submit_grid(ballast)
        finish_head_of_queue(store)
        status, said = at_a_terminal(ballast, "list", columns=columns)
        lines = said.splitlines()
        assert status == 0
        assert len(lines) == 5
        assert all(len(line) <= columns for line in lines)
        assert lines[-1].split()[:5] == ["1", "succeeded", "16:1", "0", "3/3"]
        assert "error" not in lines[0]  # where none has failed, that column would only take room
        assert ("name" in lines[0]) is (columns >= 120)

    @pytest.mark.parametrize("name", ["a long name " * 16, "名前" * 90])
    def test_on_a_terminal_a_long_name_takes_no_room_from_what_stands_before_it(
        self, ballast: Ballast, name: str
    ) -> None:
        ballast("submit", ballast.file(json.dumps(SPEC | {"name": name})))
        status, said = at_a_terminal(ballast, "list", columns=90)
        titles, line = said.splitlines()
        assert status == 0
        assert titles.split() == ["id", "state", "weight", "seed", "epochs", "data", "set", "model", "name"]
        assert line.startswith("1   queued  1:1     0     0/3     digits    mlp    " + name[:10])
        assert cell_len(line.rstrip()) <= 90

    def test_in_a_sweep_what_differs_takes_the_place_of_what_all_share(self, ballast: Ballast) -> None:
        axes = ("--axis", "optimizer.weight_decay=0,0.01")
        ballast("sweep", ballast.file(json.dumps(SPEC)), *axes)
        for words in (("list", "--sweep", "1"), ("show", "--sweep", "1")):
            lines = ballast(*words).splitlines()
            assert sorted(line.split("\t")[-1] for line in lines if line.endswith(("decay 0", "decay 0.01"))) == [
                *("weight_decay 0", "weight_decay 0.01")
            ]

    def test_an_experiment_is_shown_field_by_field(self, ballast: Ballast, store: Store) -> None:
        submit_grid(ballast)
        finish_head_of_queue(store, State.FAILED)
        lines = ballast("show", "1").splitlines()
        for line in (
            *("base in-domain\t0.500 after epoch 3", "error\tbad_data: so it was"),
            *("dataset\tdigits, seed 0, label_noise 0, base_class 0, other_class 1", "model\tmlp, hidden 64"),
            *("optimizer\tlr 0.1, weight_decay 0, momentum 0", "importance_weight\t16:1", "batch_size\t16"),
        ):
            assert line in lines
        assert any(re.fullmatch(r"took\t(\d\.\d s|0:00:\d\d)", line) for line in lines)

    def test_a_row_without_a_finite_number_says_none(self, ballast: Ballast, store: Store) -> None:
        submit_grid(ballast)
        claim = claimed(store)
        row = result(1)
        diverged = row._replace(finite_in_domain=row.n_in_domain - 1)
        with store.writing() as tx:
            attempts.finish(tx, claim, diverged, State.FAILED, ExperimentError(ErrorKind.DIVERGED, "so it was"))
        last = ballast.json("show", "1")["last_row"]
        assert (last["epoch"], last["base_fraction_in_domain"]) == (1, None)
        assert ballast("list").splitlines()[-1].split("\t")[5] == "–"


class TestKept:
    def test_predictions_are_counted(self, ballast: Ballast, store: Store) -> None:
        submit_grid(ballast)
        finish_head_of_queue(store)
        kept = ballast.json("predictions", "1")
        found = [line.split("\t") for line in ballast("predictions", "1").splitlines()]
        assert [row[:2] for row in found[1:3]] == [
            [name.replace("_", "-"), str(kept["sets"][name]["n"])] for name in ("in_domain", "out_of_domain")
        ]
        assert found[1][2:] == ["3", f"{3 / kept['sets']['in_domain']['n']:.3f}"]  # of b"1", which is 0b00110001
        assert found[3] == ["after epoch 1; predictions are kept of epochs 1"]
        assert "has no predictions" in ballast("predictions", "1", "--epoch", "2", status=1)

    def test_weights_are_written(self, ballast: Ballast, store: Store) -> None:
        submit_grid(ballast)
        claim = claimed(store)
        with store.writing() as tx:
            attempts.finish(tx, claim, result(3, weights=b"safe tensors"), State.SUCCEEDED)
        assert ballast("weights", "1") == "wrote experiment-1.safetensors\n"
        assert (ballast.folder / "experiment-1.safetensors").read_bytes() == b"safe tensors"
        piped = subprocess.run(
            [*COMMAND, "weights", "1", "--out", "-"], env=environment(ballast.url), capture_output=True, check=True
        )
        assert piped.stdout == b"safe tensors"
        assert ballast.json("weights", "1", "--out", "w") == {"experiment_id": 1, "file": "w"}
        assert "cannot write no/w" in ballast("weights", "1", "--out", "no/w", status=1)
        assert "weights" in ballast("weights", "2", status=1)


class TestWishes:
    def test_of_a_sweep(self, ballast: Ballast, store: Store) -> None:
        sweep = str(submit_grid(ballast))
        finish_head_of_queue(store)
        assert ballast("pause", "--sweep", sweep) == "sweep 1 has 3 paused, 1 succeeded\n"
        assert "3 queued" in ballast("resume", "--sweep", sweep)
        assert ballast.json("cancel", "--sweep", sweep)["counts"]["cancelled"] == 3
        assert "3 queued" in ballast("retry", "--sweep", sweep)
        assert ballast("delete", "--sweep", sweep) == ("what had ended of sweep 1 is deleted; it still has 3 queued\n")
        assert "sweep 1 has 3 queued: cancel them to delete them" in ballast("delete", "--sweep", sweep, status=1)
        claim = claimed(store)
        assert ballast("pause", "--sweep", sweep) == (
            "sweep 1 has 1 running, 2 paused; what is running stops within seconds\n"
        )
        assert ballast("resume", "--sweep", sweep) == "sweep 1 has 2 queued, 1 running\n"
        ballast("cancel", "--sweep", sweep)
        with store.writing() as tx:
            leases.release(tx, claim)
        assert ballast("cancel", "--sweep", sweep) == "there is nothing to cancel: sweep 1 has 3 cancelled\n"
        assert ballast("delete", "--sweep", sweep) == "sweep 1 is deleted\n"
        assert ballast.json("list") == ballast.json("list", "--sweeps") == []

    def test_of_a_sweep_of_which_all_was_deleted(self, ballast: Ballast) -> None:
        sweep = str(submit_grid(ballast))
        for number in "1234":
            ballast("cancel", number)
            ballast("delete", number)
        assert ballast("pause", "--sweep", sweep) == "there is nothing to pause: sweep 1 has no experiments\n"
        assert ballast("wait", "--sweep", sweep) == "sweep 1 has no experiments\n"
        assert ballast("watch", sweep) == ""
        assert "no experiments" in ballast("list", "--sweeps")
        assert "no experiments" in ballast("show", "--sweep", sweep)
        assert ballast("delete", "--sweep", sweep) == "sweep 1 is deleted\n"

    @pytest.mark.parametrize(("typed", "left"), [("n\n", 4), ("\n", 4), ("y\n", 3), ("--yes", 3)])
    def test_on_a_terminal_deletion_asks_how_much_is_to_go(
        self, ballast: Ballast, store: Store, typed: str, left: int
    ) -> None:
        sweep = str(submit_grid(ballast))
        finish_head_of_queue(store)
        yes = [typed] if typed.startswith("--") else []
        status, said = at_a_terminal(ballast, "delete", "--sweep", sweep, *yes, typed="" if yes else typed)
        assert status == (1 if left == 4 else 0), said
        asked = (
            "Delete what has ended of sweep 1: 1 experiment with curves, predictions, weights and checkpoints? [y/N]"
        )
        assert (asked in said) is not bool(yes)
        assert len(ballast.json("list")) == left

    def test_why_what_failed_is_not_tried_again(self, ballast: Ballast, store: Store) -> None:
        sweep = str(submit_grid(ballast))
        finish_head_of_queue(store, State.FAILED, ErrorKind.DIVERGED)
        ballast("cancel", "--sweep", sweep)
        assert "3 queued, 1 failed; what diverged would diverge again" in ballast("retry", "--sweep", sweep)

    def test_of_an_experiment(self, ballast: Ballast, store: Store) -> None:
        submit_grid(ballast)
        assert ballast("pause", "2") == "experiment 2 is paused\n"
        assert ballast("resume", "2") == "experiment 2 is queued\n"
        claimed(store)
        assert ballast("pause", "1") == "experiment 1 is running and will be paused within seconds\n"
        assert ballast("resume", "1") == "experiment 1 is running\n"
        assert "experiment 1 is running: only one that has ended can be deleted" in ballast("delete", "1", status=1)
        ballast("cancel", "2")
        assert ballast.json("delete", "2") == {"id": 2, "deleted": True}
        ballast("cancel", "3")
        assert ballast("delete", "3") == "experiment 3 is deleted\n"
        assert "there is no experiment 2" in ballast("show", "2", status=1)

    def test_a_priority_is_of_an_experiment_or_of_what_waits_of_a_sweep(self, ballast: Ballast, store: Store) -> None:
        sweep = str(submit_grid(ballast))
        finish_head_of_queue(store)
        assert ballast("priority", "2", "-5").startswith("experiment 2 has priority -5: 2 before it in the queue")
        assert ballast("priority", "--sweep", sweep, "7") == (
            "what waits of sweep 1 has priority 7: it has 3 queued, 1 succeeded\n"
        )
        assert [each["priority"] for each in ballast.json("list", "--sweep", sweep)] == [7, 7, 7, 0]
        changed = ballast.json("priority", "--sweep", sweep, "7")
        assert changed["counts"]["queued"] == 3
        events = [event["detail"] for event in events_of(ballast, 2) if event["kind"] == "priority"]
        assert events == ["-5", "7"]  # the same again is no news
        assert "has succeeded already: only one that is queued" in ballast("priority", "1", "3", status=1)
        for words in (
            ("5",),
            ("0", "5"),
            ("2", "101"),
            ("2", "3", "4"),
            ("--sweep", "1", "2", "3"),
            ("2", "--nonsense"),
        ):
            assert "Usage:" in ballast("priority", *words, status=2)
        ballast("cancel", "--sweep", sweep)
        assert ballast("priority", "--sweep", sweep, "8") == "nothing waits: sweep 1 has 1 succeeded, 3 cancelled\n"

    @pytest.mark.parametrize("command", ["cancel", "pause", "resume", "retry", "delete", "wait", "show"])
    @pytest.mark.parametrize("numbers", [(), ("1", "--sweep", "1")])
    def test_one_number_is_needed(self, ballast: Ballast, command: str, numbers: tuple[str, ...]) -> None:
        assert "give the number of an experiment, or --sweep" in " ".join(
            ballast(command, *numbers, status=2).replace("│", " ").split()
        )


class TestWaiting:
    def test_wait_ends_with_the_experiment(self, ballast: Ballast, store: Store) -> None:
        submit_grid(ballast)
        later = threading.Thread(target=lambda: (time.sleep(0.5), finish_head_of_queue(store)))
        later.start()
        assert ballast("wait", "1") == "experiment 1 has succeeded\n"
        later.join()
        finish_head_of_queue(store, State.FAILED)
        assert "experiment 2 has failed: bad_data: so it was" in ballast("wait", "2", status=4)
        ballast("cancel", "3")
        assert "experiment 3 is cancelled" in ballast("wait", "3", status=4)

    def test_wait_and_watch_end_with_the_sweep(self, ballast: Ballast, store: Store) -> None:
        sweep = str(submit_grid(ballast))
        for _ in range(4):
            finish_head_of_queue(store)
        assert ballast("wait", "--sweep", sweep) == "sweep 1 has succeeded\n"
        assert ballast("watch", sweep).splitlines() == [
            f"experiment {1 + i + 2 * seed}  {weight}, seed {seed}  succeeded  3/3  under-fit"  # queued seed by seed
            for i, weight in enumerate(("16:1", "1:16"))
            for seed in (0, 1)
        ]

    def test_watch_follows_the_changes_and_ends_with_4_where_one_failed(self, ballast: Ballast, store: Store) -> None:
        sweep = str(submit_grid(ballast))
        done = subprocess.Popen(
            [*COMMAND, "watch", sweep],
            env=environment(ballast.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert done.stdout is not None
        first = [done.stdout.readline() for _ in range(4)]
        assert all("queued" in line for line in first)
        finish_head_of_queue(store, State.FAILED)
        for _ in range(3):
            finish_head_of_queue(store)
        out, err = done.communicate(timeout=PATIENCE_S)
        assert done.returncode == 4
        assert "experiment 1  16:1, seed 0  failed  3/3  under-fit  bad_data: so it was" in out
        assert err == "ballast: sweep 1 has 3 succeeded, 1 failed: look with `ballast list --sweep 1`\n"

    def test_watch_says_json_line_by_line(self, ballast: Ballast, store: Store) -> None:
        sweep = str(submit_grid(ballast))
        for _ in range(4):
            finish_head_of_queue(store)
        lines = [json.loads(line) for line in ballast("watch", sweep, "--json").splitlines()]
        assert [line["state"] for line in lines] == ["succeeded"] * 4


class TestFigure:
    @pytest.mark.parametrize(
        ("name", "magic"), [("figure.png", b"\x89PNG"), ("figure.svg", b"<?xml"), ("figure.PDF", b"%PDF")]
    )
    def test_it_is_written_in_the_format_of_its_name(
        self,
        ballast: Ballast,
        store: Store,
        name: str,
        magic: bytes,
    ) -> None:
        sweep = str(submit_grid(ballast))
        finish_head_of_queue(store)
        assert ballast("figure", sweep, "--out", name) == f"wrote {name}\n"
        assert (ballast.folder / name).read_bytes().startswith(magic)

    def test_it_goes_into_a_pipe(self, ballast: Ballast) -> None:
        command = [*COMMAND, "figure", str(submit_grid(ballast)), "--out", "-"]
        piped = subprocess.run(command, env=environment(ballast.url), capture_output=True, check=True)
        assert piped.stdout.startswith(b"\x89PNG")
        assert "where --json would print" in ballast("figure", "1", "--out", "-", "--json", status=2)

    def test_what_was_written_may_be_json(self, ballast: Ballast) -> None:
        sweep = submit_grid(ballast)
        assert ballast.json("figure", str(sweep)) == {"sweep_id": sweep, "with": [], "file": "figure.png"}

    def test_several_sweeps_are_drawn_as_asked(self, ballast: Ballast) -> None:
        first, second = submit_grid(ballast), submit_grid(ballast)
        numbers = (str(first), str(second))
        wanted = ("--bands", "--rows", "2", "--scale", "linear", "--out", "both.svg")
        made = ballast.json("figure", *numbers, *wanted)
        assert made == {"sweep_id": first, "with": [second], "file": "both.svg"}
        drawn = (ballast.folder / "both.svg").read_text()
        assert [f"sweep {number}" in drawn for number in numbers] == [False, True]

    def test_what_cannot_be_drawn_is_refused_in_a_sentence(self, ballast: Ballast) -> None:
        sweep = str(submit_grid(ballast))
        assert "?with names no sweep that there is: 9" in ballast("figure", sweep, "9", status=1)
        assert f"?with names a sweep twice: {sweep}" in ballast("figure", sweep, sweep, status=2)
        assert '?rows is no row of this figure: "x" (allowed: 1)' in ballast("figure", sweep, "--rows", "x", status=2)
        assert "'square' is not one of" in ballast("figure", sweep, "--scale", "square", status=2)
        assert not list(ballast.folder.glob("figure*"))

    def test_other_formats_and_places_are_refused(self, ballast: Ballast, tmp_path: Path) -> None:
        sweep = str(submit_grid(ballast))
        assert "is neither .png nor .svg nor .pdf" in ballast("figure", sweep, "--out", "figure.gif", status=2)
        assert "cannot write" in ballast("figure", sweep, "--out", str(tmp_path / "no" / "figure.png"), status=1)


class TestEffect:
    def test_it_is_a_table_and_a_verdict_on_each_claim(self, ballast: Ballast, store: Store) -> None:
        sweep = str(submit_grid(ballast))
        finish_head_of_queue(store)
        said = ballast("effect", sweep)
        assert said.splitlines()[0].split("\t") == [
            *("group", "test set", "of", "runs", "slope", "bend", "spread", "the effect")
        ]
        assert "4 runs: 1 under-fit, 3 without rows" in said
        assert "C1 heavy weights move the boundary early: undecided" in said
        assert "What would decide it? " in said
        assert ballast.json("effect", sweep)["claims"][0]["claim"] == "C1"
        assert "there is no sweep 9" in ballast("effect", sweep, "--against", "9", status=1)

    def test_a_report_is_written_in_the_format_of_its_name(self, ballast: Ballast, store: Store) -> None:
        sweep = str(submit_grid(ballast))
        finish_head_of_queue(store)
        assert ballast("report", sweep) == "wrote report.html\n"
        assert (ballast.folder / "report.html").read_text().startswith("<!doctype html>")
        assert ballast("report", sweep, "--out", "report.md") == "wrote report.md\n"
        command = [*COMMAND, "report", sweep, "--out", "-"]
        piped = subprocess.run(command, env=environment(ballast.url), capture_output=True, check=True)
        assert piped.stdout == (ballast.folder / "report.md").read_bytes()
        assert "is neither .html nor .md" in ballast("report", sweep, "--out", "report.pdf", status=2)


def test_presets_are_listed_and_shown(ballast: Ballast) -> None:
    lines = ballast("presets").splitlines()
    assert lines[0] == "name\texperiments\ttitle"
    assert "paper\t60\tAll eight figures of the paper" in lines
    assert ballast.json("presets", "figure-3", "--as-drawn")["count"] == 4
    assert "60 experiments: epochs 1000\n" in ballast("presets", "paper")
    assert ballast("presets", "known-answers").endswith("28 experiments\n")  # which have nothing in common
    assert "there are figure-1" in ballast("presets", "figure-9", status=1)


def test_show_tells_why_it_waits_and_how_long_it_takes(ballast: Ballast, store: Store) -> None:
    sweep = str(submit_grid(ballast))
    assert "no worker is alive" in ballast("show", "1")
    claim = claimed(store)
    with store.writing() as tx:
        attempts.begin(tx, claim, PROVENANCE, None)
        attempts.record(tx, claim, result(1), epoch_seconds=40.0)
    assert "it is the next in the queue" in ballast("show", "2")
    shown = ballast("show", "1")
    assert "time left\t0:01:20" in shown
    assert "trained with\tBallast 0.1.0 (0123456789ab, changed), torch 2.13.0, on cpu, threads 1, data 5a\n" in shown
    assert "\t16:1\t1\t" in ballast("show", "--sweep", sweep)


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        ((40, 40, 1, 1, 3, 0, 0), "about 40 s on one worker, once their turn has come; by epochs of the same kind"),
        (
            (8 * 3600, 16 * 3600, 2, 2, 0, 3, 0),
            "about 8 h on 2 workers, 16 h of one device, once their turn has come; by `ballast bench`",
        ),
        (
            (9e5, 9e5, 12, 1, 1, 1, 1),
            "at least 10 days on one worker (of 1 of 3 it is not known; how fast 11 more workers are is not known), "
            "once their turn has come; by epochs of the same kind and `ballast bench`",
        ),
        (
            (None, 600, 0, 0, 0, 3, 0),
            "about 10 min of one device; no worker is alive now; by `ballast bench`",
        ),
        ((None, None, 2, 0, 0, 0, 3), NOT_KNOWN),
    ],
)
def test_a_cost_is_told_in_words(cost: tuple[Any, ...], words: str) -> None:
    names = ("seconds", "device_seconds", "workers", "known_workers", "measured", "benchmarked", "unknown")
    assert cost_in_words(dict(zip(names, cost, strict=True)), 3) == words
