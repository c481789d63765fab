"""`ballast up` on one host: experiments that succeed, fail with a sentence, are cancelled, or kill their worker."""

import json
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.states import Ask
from tests.e2e.processes import (
    DIGITS,
    ENDLESS,
    Up,
    ballast,
    reproducible_part,
    running,
    wait_for_end,
    wait_for_epoch,
    wait_for_state,
)
from tests.servers import wait_until


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = tmp_path_factory.mktemp("home")
    with running(Up(home, "--workers", "1", data_dir=home / "data", max_failures=2)) as process:
        yield process


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_curve_of_the_api_is_the_curve_of_ballast_run_bit_for_bit(up: Up, tmp_path: Path, precision: str) -> None:
    model = {"name": "cnn", "width": 4, "dropout": 0.5}
    spec = DIGITS | {"model": model, "epochs": 3, "seed": 7, "precision": precision}
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec))
    experiment = up.client.submit(spec)
    assert wait_for_end(up.client, experiment["id"])["state"] == "succeeded"
    kinds = [event["kind"] for event in up.client.events(experiment["id"])]
    assert [kind for kind in kinds if kind != "warning"] == ["submitted", "claimed", "succeeded"]

    alone = ballast("run", str(file), "--json", home=tmp_path)

    assert alone.returncode == 0, alone.stderr
    assert reproducible_part(json.loads(alone.stdout)) == reproducible_part(up.client.curve(experiment["id"]))


def test_the_curve_comes_in_parts_while_it_grows_and_they_make_the_whole(up: Up) -> None:
    experiment = up.client.submit(DIGITS | {"epochs": 400})
    epochs, losses, after, parts = [], [], 0, 0
    complete = False
    while not complete:
        part = up.client.curve(experiment["id"], after)
        assert part["epoch"] == list(range(after + 1, part["next_after"] + 1))
        parts += bool(part["epoch"])
        epochs += part["epoch"]
        losses += part["loss"]["iteration"]
        after, complete = part["next_after"], part["complete"]
        time.sleep(0.05)
    whole = up.client.curve(experiment["id"])
    assert epochs == whole["epoch"] == list(range(1, 401))
    assert losses == whole["loss"]["iteration"] == list(range(100, 400 * 16 + 1, 100))
    assert parts > 1


def test_cancelling_a_running_experiment_frees_its_worker(up: Up) -> None:
    experiment = up.client.submit(ENDLESS)
    wait_for_epoch(up.client, experiment["id"], 10)
    assert up.client.ask(experiment["id"], Ask.CANCEL)["requested"] == "cancel"

    ended = wait_for_state(up.client, experiment["id"], "cancelled")

    assert ended["requested"] is None
    assert ended["worker"] is None
    assert wait_for_end(up.client, up.client.submit(DIGITS)["id"])["state"] == "succeeded"


def test_a_loss_that_becomes_nan_ends_the_experiment_as_diverged(up: Up) -> None:
    spec = DIGITS | {
        "optimizer": {"lr": 1000},
        "importance_weight": "256:1",
        "loss": {"name": "cross_entropy", "normalization": "batch_size"},
    }
    experiment = up.client.submit(spec | {"model": {"name": "cnn", "width": 4}, "epochs": 50})

    ended = wait_for_end(up.client, experiment["id"])

    curve = up.client.curve(experiment["id"])
    assert (ended["state"], ended["error"]["kind"]) == ("failed", "diverged")
    assert curve["diverged_at"] == ended["epochs_done"] == curve["epoch"][-1]
    assert f"epoch {curve['diverged_at']}" in ended["error"]["message"]
    assert curve["nonfinite"]
    for column, where in curve["nonfinite"].items():
        if column != "loss":
            assert where.keys() == {str(curve["diverged_at"])}
            assert curve[column][-1] is None
    assert curve["finite_logits"][-1] is not None
    warned = [event for event in up.client.events(experiment["id"]) if event["kind"] == "warning"]
    assert "batch_size" in warned[0]["detail"]


def _image_folder(up: Up, name: str) -> Path:
    return Path(str(up.settings["data_dir"])) / "folders" / name


def _write_image(path: Path, shade: int) -> None:
    """An 8×8 grey PNG, written by hand."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pixels = zlib.compress(b"".join(b"\0" + bytes([shade] * 8) for _ in range(8)))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def _write_animals(folder: Path) -> None:
    for part in ("train", "test"):
        for shade, animal in ((40, "cat"), (200, "dog"), (120, "frog")):
            for number in range(10):
                _write_image(folder / part / animal / f"{number}.png", shade + number)


def _bad_data_message(up: Up, dataset: dict[str, object], **more: object) -> str:
    experiment = up.client.submit(DIGITS | {"dataset": dataset} | more)
    ended = wait_for_end(up.client, experiment["id"])
    assert (ended["state"], ended["failures"]) == ("failed", 0)
    assert ended["error"]["kind"] == "bad_data", ended["error"]
    assert ended["error"]["traceback"] is None
    message: str = ended["error"]["message"]
    return message


ANIMALS = {"name": "image_folder", "folder": "animals", "base_class": "dog", "other_class": "cat"}


def test_a_folder_of_images_trains(up: Up) -> None:
    _write_animals(_image_folder(up, "animals"))
    ended = wait_for_end(up.client, up.client.submit(DIGITS | {"dataset": ANIMALS})["id"])
    assert ended["state"] == "succeeded", ended["error"]


def test_bad_data_ends_the_experiment_with_a_sentence_and_the_next_one_runs(up: Up) -> None:
    wait_until(lambda: len(_idle_pids(up)) == 1)
    worker = _idle_pids(up)

    _write_animals(_image_folder(up, "broken"))
    truncated = _image_folder(up, "broken") / "train" / "cat" / "3.png"
    truncated.write_bytes(truncated.read_bytes()[:45])
    assert "3.png" in _bad_data_message(up, ANIMALS | {"folder": "broken"})

    _write_animals(_image_folder(up, "catless"))
    (_image_folder(up, "catless") / "train" / "cat").rename(_image_folder(up, "catless") / "train" / "lion")
    assert "cat" in _bad_data_message(up, ANIMALS | {"folder": "catless"})

    (_image_folder(up, "empty") / "train" / "cat").mkdir(parents=True)
    (_image_folder(up, "empty") / "train" / "dog").mkdir(parents=True)
    assert "empty" in _bad_data_message(up, ANIMALS | {"folder": "empty"})

    assert "nowhere" in _bad_data_message(up, ANIMALS | {"folder": "nowhere"})
    assert "269" in _bad_data_message(up, {"name": "digits"}, batch_size=270)
    assert "cifar10" in _bad_data_message(up, {"name": "cifar10"})  # no network here, no archive

    assert wait_for_end(up.client, up.client.submit(DIGITS)["id"])["state"] == "succeeded"
    wait_until(lambda: _idle_pids(up) == worker)


def _idle_pids(up: Up) -> list[int]:
    return [each["pid"] for each in up.client.workers() if each["state"] == "idle"]
