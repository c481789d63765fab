"""`python -m core.training.programs.data`: what is there, what is wrong with it, all at once and without a download."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.training import vision
from core.training.programs.data import main
from tests.data import DATA, N_IN_DOMAIN, N_OUT_OF_DOMAIN
from tests.nolocks import without_locks
from tests.servers import free_port
from tests.unit.training.builders import locks_dir
from tests.unit.training.test_folders import write


def run(data_dir: Path, *arguments: str) -> int:
    return main([*arguments, "--data-dir", str(data_dir), "--locks-dir", str(locks_dir())])


def report(data_dir: Path, name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    status = run(data_dir, "check", name, "--json")
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert status == (0 if found["ok"] else 1)
    return found


def test_mnist_is_counted_class_by_class(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(DATA, "mnist", capsys)
    assert found["ok"]
    assert {name: found["sets"]["train"][name] for name in "01"} == {"0": 200, "1": 200}
    assert sum(found["sets"]["test"].values()) == N_IN_DOMAIN + N_OUT_OF_DOMAIN
    assert run(DATA, "fetch", "mnist") == 0
    assert "mnist is ready" in capsys.readouterr().out


def test_digits_need_no_fetch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "fetch", "digits") == 0
    assert "digits is ready" in capsys.readouterr().out
    assert sum(report(tmp_path, "digits", capsys)["sets"]["all"].values()) == 1797


@pytest.mark.parametrize(("name", "per_class"), [("two_gaussians", 20), ("moons", 100), ("blobs", 100)])
def test_points_that_are_drawn_need_no_fetch(
    name: str, per_class: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for what in ("fetch", "check"):
        assert run(tmp_path, what, name) == 0
        assert f"{name} is ready: it is drawn from the seed in the spec" in capsys.readouterr().out
    classes = {"0": per_class, "1": per_class}
    assert report(tmp_path, name, capsys)["sets"] == {"train": classes, "test": {"0": 500, "1": 500}}


def test_points_of_a_spec_are_looked_for_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for what in ("fetch", "check"):
        assert run(tmp_path, what, "points") == 0
        said = capsys.readouterr()
        assert said.out == "points is ready: the spec itself holds them, and nothing is fetched or read\n"
        assert said.err == ""
    assert report(tmp_path, "points", capsys)["sets"] == {}


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_a_check_downloads_nothing_and_says_how_to(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (problem,) = report(tmp_path, name, capsys)["problems"]
    assert f"ballast data fetch {name}" in problem
    assert "download=True" not in problem  # torchvision's own advice
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(DATA / "MNIST", tmp_path / "MNIST")
    images = next(tmp_path.rglob("t10k-images-idx3-ubyte"))
    images.write_bytes(images.read_bytes()[:-1000])
    assert not report(tmp_path, "mnist", capsys)["ok"]


def test_every_unreadable_file_of_a_folder_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "folders/pets/train", classes={"dog": 3, "cat": 2})
    write(tmp_path / "folders/pets/test", classes={"dog": 1, "cat": 1, "bird": 2})
    assert report(tmp_path, "pets", capsys)["sets"] == {
        "train": {"cat": 2, "dog": 3},
        "test": {"bird": 2, "cat": 1, "dog": 1},
    }
    (tmp_path / "folders/pets/train/dog/notes.txt").write_text("not an image")
    whole = tmp_path / "folders/pets/test/bird/001.png"
    whole.write_bytes(whole.read_bytes()[:-30])
    (tmp_path / "folders/pets/test/fish").mkdir()
    found = report(tmp_path, "pets", capsys)
    assert sorted(each["file"] for each in found["unreadable"]) == [
        "folders/pets/test/bird/001.png",
        "folders/pets/train/dog/notes.txt",
    ]
    assert found["sets"]["test"]["bird"] == 1
    (problem,) = found["problems"]
    assert "fish holds no image" in problem
    assert run(tmp_path, "check", "pets") == 1
    assert "notes.txt cannot be read as an image" in capsys.readouterr().err


def test_whatever_is_no_file_is_listed_and_waited_for_by_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "folders/hot pets/train", classes={"hot dog": 3, "cat": 2})
    write(tmp_path / "folders/hot pets/test", classes={"hot dog": 1, "cat": 1})
    dogs = tmp_path / "folders/hot pets/train/hot dog"
    os.mkfifo(dogs / "pipe.png")
    (dogs / "loop.png").symlink_to("loop.png")
    (dogs / "more").mkdir()
    (dogs / "none.png").touch()
    found = report(tmp_path, "hot pets", capsys)
    assert {Path(each["file"]).name: each["reason"] for each in found["unreadable"]} == {
        "loop.png": "Too many levels of symbolic links",
        "more": "a folder, not a file",
        "none.png": "an empty file",
        "pipe.png": "a named pipe, not a file",
    }
    assert found["sets"]["train"] == {"cat": 2, "hot dog": 3}


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ({}, "needs at least two classes"),
        ({"train": {"dog": 1}}, "needs at least two classes"),
        ({"train": {"dog": 1, "cat": 1}, "test": {"dog": 1}}, "cat: no such class in"),
        ({"train": {"dog": 1, "hot\\dog": 1}, "test": {"dog": 1, "hot\\dog": 1}}, r"can name the class 'hot\\dog'"),
        ({"train": {"dog": 1, "Café": 1, "Cafe\u0301": 1}, "test": {"dog": 1}}, "two folders named 'Café'"),
        ({"train": {"dog": 1, "c" * 101: 1}, "test": {"dog": 1}}, f"can name the class '{'c' * 101}'"),
    ],
)
def test_what_cannot_be_trained_on_is_said(
    classes: dict[str, dict[str, int]], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train", "test"):
        (tmp_path / "folders/pets" / name).mkdir(parents=True)
        write(tmp_path / "folders/pets" / name, classes=classes.get(name, {}))
    assert any(said in problem for problem in report(tmp_path, "pets", capsys)["problems"])


def test_a_folder_that_is_not_there_is_said_with_those_that_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folders/pets").mkdir(parents=True)
    (problem,) = report(tmp_path, "pest", capsys)["problems"]
    assert "no data set and no folder" in problem
    assert "folders there: pets" in problem
    (problem,) = report(tmp_path, "image_folder", capsys)["problems"]
    assert "checked by the name of the folder" in problem
    assert "folders there: pets" in problem
    assert len(report(tmp_path, "pets", capsys)["problems"]) == 2  # neither train/ nor test/


@pytest.mark.parametrize("name", ["..", "../pets", "/etc", "a/b", ".hidden", "", "a\nb"])
def test_no_name_leaves_the_data_directory(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "check", name) == 2
    assert "no name of a folder" in capsys.readouterr().err


def test_locks_that_cannot_be_made_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    arguments = ["fetch", "mnist", "--data-dir", str(DATA), "--locks-dir", str(tmp_path / "file" / "locks")]
    assert main(arguments) == 1
    assert "set BALLAST_HOME to a folder that you may write to" in capsys.readouterr().err


def test_locks_that_there_are_none_of_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vision._datasets()  # imported here, not under the filter
    assert without_locks(errno.ENOSYS, lambda: run(tmp_path, "fetch", "mnist")) == 1
    assert "has no file locks (Function not implemented): set BALLAST_HOME to a folder" in capsys.readouterr().err


def test_a_download_that_fails_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vision._datasets().FashionMNIST, "mirrors", [f"http://127.0.0.1:{free_port()}/"])
    assert run(tmp_path, "fetch", "fashion_mnist") == 1
    assert "nor downloaded into it" in capsys.readouterr().err
    assert not any(tmp_path.glob("FashionMNIST"))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_no_test_downloads(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "fetch", name) == 1
    assert "Connection refused" in capsys.readouterr().err


def test_only_known_data_sets_can_be_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "fetch", "imagenet") == 2
    assert "digits, mnist, fashion_mnist, cifar10" in capsys.readouterr().err
