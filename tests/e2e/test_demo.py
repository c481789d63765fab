"""`ballast demo`: five real curves that meet the bounds of core/training/README.md, "Known answers", and a figure."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.e2e.processes import COMMAND, ballast
from tests.servers import PATIENCE_S, wait_until, wait_until_gone

WEIGHTS = ["256:1", "16:1", "1:1", "1:16", "1:256"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("demo") / "demo"
    done = ballast("demo", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in out.iterdir()) == ["curves.json", "figure.png"]
    assert [line.split("\t")[0] for line in done.stdout.splitlines()][1:6] == WEIGHTS
    return out


def has_begun(process: psutil.Process) -> bool:
    """Before, Python begins, and has not read a line of ours."""
    return "pydantic_core" in Path(f"/proc/{process.pid}/maps").read_text()


def has_workers(process: psutil.Process) -> bool:
    try:
        return any("worker.process" in each.cmdline() for each in process.children(recursive=True))
    except psutil.NoSuchProcess:  # one that has just ended
        return False


@pytest.mark.parametrize("moment", [has_begun, has_workers])
def test_ctrl_c_leaves_neither_a_process_nor_a_folder(tmp_path: Path, moment: Callable[[psutil.Process], bool]) -> None:
    (tmp_path / "temporary").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    process = subprocess.Popen([COMMAND, "demo"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    demo = psutil.Process(process.pid)
    wait_until(lambda: moment(demo))
    family = demo.children(recursive=True)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # impatient
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "Traceback" not in said
    wait_until_gone(family)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_curves_are_complete_and_count_whole_images(folder: Path) -> None:
    curves = json.loads((folder / "curves.json").read_text())
    assert [each["importance_weight"] for each in curves] == WEIGHTS
    for each in curves:
        curve = each["curve"]
        assert curve["complete"]
        assert curve["epoch"] == list(range(1, 101))
        assert curve["nonfinite"] == {}
        for column, n in (("base_fraction_in_domain", 91), ("base_fraction_out_of_domain", 1437)):
            assert curve[column] == [round(fraction * n) / n for fraction in curve[column]]


def test_the_weights_disagree_first_and_agree_in_domain_later(folder: Path) -> None:
    curves = json.loads((folder / "curves.json").read_text())

    def spread(column: str, epoch: int) -> float:
        shares = [each["curve"][column][epoch - 1] for each in curves]
        return max(shares) - min(shares)

    assert spread("base_fraction_in_domain", 1) > 0.9
    assert spread("base_fraction_in_domain", 40) < 0.1
    assert spread("base_fraction_out_of_domain", 3) > 0.9
    assert spread("base_fraction_out_of_domain", 100) < 0.6
    last = [each["curve"]["base_fraction_out_of_domain"][99] for each in curves]
    assert last == sorted(last, reverse=True)


def test_the_figure_is_a_picture(folder: Path) -> None:
    with Image.open(folder / "figure.png") as picture:
        assert picture.width > 1000
        colours = picture.convert("RGB").getcolors(picture.width * picture.height)
    assert colours is not None
    assert len(colours) > 100
