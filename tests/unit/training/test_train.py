"""`python -m core.training.programs.train`: one spec without any service."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from core import processor
from core.curve import learned_at
from core.training.programs.train import main
from tests.unit.training.builders import digits, locks_dir, rows_of, spec_of

SPEC = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "importance_weight": "4:1", "epochs": 3}


def run(tmp_path: Path, sent: object, *options: str) -> int:
    path = tmp_path / "spec.json"
    path.write_text(sent if isinstance(sent, str) else json.dumps(sent))
    return main([str(path), "--data-dir", str(tmp_path), "--locks-dir", str(locks_dir()), *options])


def test_an_epoch_is_a_line_beside_the_curve_where_one_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, SPEC) == 0
    lines, nothing = capsys.readouterr()
    assert nothing == ""
    assert len(lines.splitlines()) == 3
    assert lines.startswith("epoch 1/3  base fraction in-domain ")
    assert run(tmp_path, SPEC, "--json") == 0
    assert capsys.readouterr().err == lines


def test_a_device_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, SPEC, "--device", "cuda:99") == 1
    assert capsys.readouterr().err.startswith("ballast: there is no device cuda:99: torch ")


def test_what_this_device_cannot_compute_fails_the_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, SPEC | {"model": {"name": "cnn", "width": 2}, "precision": "tf32"}, "--device", "cpu") == 4
    assert capsys.readouterr().err.startswith("ballast: precision tf32 is a GPU's, ")


def test_the_curve_goes_to_stdout_and_is_that_of_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, SPEC, "--json") == 0
    curve = json.loads(capsys.readouterr().out)
    rows = rows_of(spec_of(importance_weight="4:1", epochs=3), digits())
    assert (curve["id"], curve["state"], curve["attempt"], curve["complete"]) == (None, "succeeded", 1, True)
    assert (curve["epoch"], curve["epochs_done"], curve["epochs_total"]) == ([1, 2, 3], 3, 3)
    assert curve["base_fraction_out_of_domain"] == [row.base_out_of_domain / 1437 for row in rows]


def test_the_curve_has_diagnostics_where_the_spec_asks_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curves = []
    for spec in (SPEC, SPEC | {"diagnostics": True}):
        assert run(tmp_path, spec, "--json") == 0
        curves.append(json.loads(capsys.readouterr().out) | {"seconds": None})
    seen = curves[1].pop("diagnostics")
    assert curves[0] == curves[1]
    rows = rows_of(spec_of(importance_weight="4:1", epochs=3, diagnostics=True), digits())
    assert seen["norm"] == pytest.approx([row.diagnostics.norm for row in rows if row.diagnostics], rel=1e-8)
    assert seen["learned_at"] == learned_at(rows)._asdict()


@pytest.mark.parametrize("computes_bf16", [True, False])
def test_bf16_on_a_processor_without_it_is_warned_of_once(
    computes_bf16: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = SPEC | {"model": {"name": "cnn", "width": 2}, "precision": "bf16", "epochs": 1}
    with mock.patch.object(processor, "computes_bf16", return_value=computes_bf16):
        assert run(tmp_path, narrow, "--device", "cpu") == 0
    assert capsys.readouterr().err == ("" if computes_bf16 else f"warning: {processor.SLOW_BF16}\n")


def test_a_faulty_spec_is_said_field_by_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, SPEC | {"epochs": 0, "importance_weight": "much"}) == 2
    err = capsys.readouterr().err
    assert "/epochs " in err
    assert "/importance_weight is not an importance weight" in err


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, '{"dataset": 1', "\x00"])
def test_what_is_not_json_is_said_in_a_sentence(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, text) == 2
    assert "is not JSON" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.json"), "--data-dir", ".", "--locks-dir", "."]) == 2
    assert "cannot read " in capsys.readouterr().err


def test_bad_data_is_said_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, SPEC | {"batch_size": 1000}) == 4
    assert "batch_size 1000 is larger than the training set" in capsys.readouterr().err


def test_a_divergence_prints_its_curve_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = SPEC | {"optimizer": {"lr": 1000.0, "weight_decay": 1000.0}, "epochs": 50}
    assert run(tmp_path, wild, "--json") == 4
    out, err = capsys.readouterr()
    curve = json.loads(out)
    assert curve["state"] == "failed"
    assert curve["diverged_at"] == curve["epochs_done"] < 50
    assert curve["nonfinite"]
    assert re.search(r"became nan in epoch \d+: try a smaller lr than 1000$", err.strip())
    other = {"loss": {"name": "cross_entropy", "normalization": "batch_size"}}
    assert run(tmp_path, wild | other) == 4
    assert "or normalization weight_sum" in capsys.readouterr().err


def test_it_runs_as_a_module_and_ctrl_c_is_130(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(SPEC | {"epochs": 1_000_000}))
    command = [
        sys.executable,
        "-P",
        "-m",
        "core.training.programs.train",
        str(path),
        "--data-dir",
        ".",
        "--locks-dir",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("epoch 1/1000000")
        child.send_signal(signal.SIGINT)
        _, err = child.communicate()
    assert child.returncode == 130
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [("core.training.programs.train", "spec.json"), ("core.training.programs.data", "check", "digits")]
)
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_nobody_who_reads_and_a_full_disk_are_no_traceback(
    arguments: tuple[str, ...], as_json: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    command = [sys.executable, "-P", "-m", *arguments, "--data-dir", ".", "--locks-dir", ".", *as_json]
    reader, writer = os.pipe()
    os.close(reader)
    to_nobody = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    with Path("/dev/full").open("wb") as full:
        to_full = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (to_nobody.returncode, to_full.returncode) == (1, 1)
    assert [line for line in to_nobody.stderr.splitlines() if not line.startswith("epoch ")] == []
    assert to_full.stderr.splitlines()[-1] == "ballast: No space left on device"
    assert "Traceback" not in to_full.stderr


def test_a_closed_stdout_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    command = f"{sys.executable} -P -m core.training.programs.train spec.json --data-dir . --locks-dir . >&-"
    done = subprocess.run(command, cwd=tmp_path, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
