"""Where a curve comes from is told whole, quickly, and without a name of a host or a path."""

import getpass
import hashlib
import json
import platform
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.training import Data, provenance
from core.training.provenance import _code
from tests.unit.training.builders import digits, small_mnist, spec_of


def test_it_says_what_a_curve_depends_on_as_json() -> None:
    found = json.loads(provenance(spec_of(), digits(), "cpu").as_json())
    assert set(found) == {
        *("code", "python", "platform", "packages", "device", "threads", "dataset", "numerics_key", "numerics_sha256")
    }
    assert set(found["code"]) == {"version", "commit", "dirty"}
    assert found["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    assert found["device"]["type"] == "cpu"
    assert found["device"]["name"]
    assert found["threads"] == torch.get_num_threads()
    assert found["dataset"]["name"] == "digits"
    assert set(found["numerics_key"]) == {
        *("engine", "precision", "memory_format", "torch", "device", "capability", "cudnn", "threads")
    }
    key = json.dumps(found["numerics_key"], sort_keys=True)
    assert found["numerics_sha256"] == hashlib.sha256(key.encode()).hexdigest()
    said = json.dumps(found)
    for private in (platform.node(), f"/{getpass.getuser()}/", str(__file__).rpartition("/")[0]):
        assert private not in said


def test_the_commit_is_that_of_this_clone_also_within_a_command_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a hook, for which git sets them."""
    ours = _code.__wrapped__()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    subprocess.run(["git", "-C", str(tmp_path), *who, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert _code.__wrapped__() == ours


def test_the_data_set_is_known_by_every_image_and_label() -> None:
    def digest(data: Data) -> str:
        return provenance(spec_of(), data, "cpu").dataset.sha256

    data = digits()
    whole = digest(data)
    assert digest(replace(data)) == whole
    for name in ("train", "in_domain", "out_of_domain"):
        examples = getattr(data, name)
        changed = replace(examples, stored=with_another_end(examples.stored))
        assert digest(replace(data, **{name: changed})) != whole, name
    for name in ("train_labels", "in_domain_labels"):
        assert digest(replace(data, **{name: with_another_end(getattr(data, name))})) != whole, name


def with_another_end(tensor: torch.Tensor) -> torch.Tensor:
    changed = tensor.clone()
    changed.view(-1)[-1] += 1
    return changed


@pytest.mark.parametrize(
    "changed",
    [{"model": {"name": "cnn"}}, {"model": {"name": "cnn"}, "precision": "bf16"}, {"importance_weight": "2:1"}],
)
def test_the_numerics_key_changes_with_what_changes_bits_and_not_with_the_experiment(
    changed: dict[str, object],
) -> None:
    one = provenance(spec_of(), digits(), "cpu").numerics_key.sha256
    other = provenance(spec_of(**changed), digits(), "cpu").numerics_key.sha256
    assert (one == other) == ("model" not in changed)


def test_it_costs_next_to_nothing() -> None:
    provenance(spec_of(), small_mnist(), "cpu")
    since = time.process_time()
    for _ in range(10):
        provenance(spec_of(), small_mnist(), "cpu")
    assert time.process_time() - since < 5
