"""`python -m core.training.programs.bench`: what one process of `ballast bench` answers."""

import io
import json
import subprocess
import sys
from typing import Any

import pytest

from core.training.programs.bench import main
from tests.unit.training.builders import spec_of

CNN = spec_of(model={"name": "cnn", "width": 2})
RESNET = spec_of(model={"name": "resnet", "width": 2})
FULL_BATCH = spec_of(batch_size=None)
TOO_LARGE = spec_of(batch_size=100_000)
HUGE = spec_of(model={"name": "mlp", "hidden": 65_536})  # 768 MiB

# Its address space ends half a GiB after what torch has taken.
WITH_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from core.training.programs.bench import main
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**29, -1))
sys.exit(main())
"""


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """What it answers to specs."""

    def ask(*specs: Any) -> list[dict[str, Any]]:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{spec.model_dump_json()}\n" for spec in specs)))
        assert main(["--device", "cpu", "--seconds", "0.1"]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return ask


def test_every_spec_is_answered_by_its_rates(answers: Any) -> None:
    ready, *rates = answers(CNN, RESNET, FULL_BATCH)
    assert ready == {"device_kind": "cpu"}
    assert len(rates) == 3
    for each in rates:
        assert each.keys() == {"train_rate", "evaluate_rate", "core_share"}
        assert 0 < each["core_share"] <= 1
        assert each["evaluate_rate"] > 0
        assert each["train_rate"] > 0


def test_the_rate_of_a_small_network_is_higher(answers: Any) -> None:
    _, small, large = answers(CNN, spec_of(model={"name": "cnn", "width": 32}))
    assert small["train_rate"] > 2 * large["train_rate"]  # thirty times, where nothing disturbs


def test_what_cannot_be_trained_is_answered_by_a_sentence_and_the_next_is_measured(answers: Any) -> None:
    _, too_large, of_a_gpu, measured = answers(TOO_LARGE, spec_of(model={"name": "cnn"}, precision="tf32"), CNN)
    assert too_large["error"].startswith("batch_size 100000 is larger than the training set")
    assert of_a_gpu["error"].startswith("precision tf32 is a GPU's")
    assert measured["train_rate"] > 0


def test_a_network_without_room_is_told_and_the_next_is_measured() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", WITH_LITTLE_MEMORY, "--device", "cpu", "--seconds", "0.1"],
        input=f"{HUGE.model_dump_json()}\n{CNN.model_dump_json()}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    _, told, measured = map(json.loads, done.stdout.splitlines())
    assert "allocate" in told["error"]
    assert measured["train_rate"] > 0


def test_a_device_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cuda:99", "--seconds", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ballast: there is no device cuda:99: torch ")
