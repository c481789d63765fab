"""Training labels that are turned over (core/training/README.md, "The protocol")."""

from pathlib import Path
from typing import Any

import pytest
import torch

from core.training import BadData, Data, load, provenance
from tests.unit.training.builders import digits, locks_dir, rows_of, same, spec_of

DATASETS: list[dict[str, Any]] = [{"name": "digits"}, {"name": "moons"}]


def noisy(share: float, **dataset: Any) -> Data:
    spec = spec_of(dataset={"name": "digits", "label_noise": share} | dataset)
    return load(spec.dataset, Path("unused"), locks_dir())


def turned(share: float, **dataset: Any) -> set[int]:
    """Which labels are turned over."""
    labels, clean = noisy(share, **dataset).train_labels, noisy(0, **dataset).train_labels
    return set((labels != clean).nonzero().flatten().tolist())


@pytest.mark.parametrize("dataset", DATASETS, ids=str)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.37, 0.5])
def test_that_share_of_the_training_labels_is_turned_over(share: float, dataset: dict[str, Any]) -> None:
    data, clean = noisy(share, **dataset), noisy(0, **dataset)
    assert len(turned(share, **dataset)) == round(share * len(data.train))
    assert torch.equal(data.train.stored, clean.train.stored)
    assert torch.equal(data.in_domain_labels, clean.in_domain_labels)
    assert data.class_sizes == tuple(torch.bincount(data.train_labels, minlength=2).tolist())


@pytest.mark.parametrize("dataset", DATASETS, ids=str)
def test_noise_nests_is_of_both_classes_and_drawn_by_the_seed_of_the_data_set(dataset: dict[str, Any]) -> None:
    little, more = turned(0.1, **dataset), turned(0.3, **dataset)
    assert little < more
    assert {noisy(0, **dataset).train_labels[i].item() for i in little} == {0, 1}
    assert turned(0.1, **dataset) == little
    assert dataset["name"] == "moons" or turned(0.1, **dataset, seed=1) != little


def test_the_checksum_of_the_data_sees_the_turned_labels() -> None:
    spec = spec_of()
    clean, none, little, other = (
        provenance(spec, data, "cpu").dataset.sha256 for data in (digits(), noisy(0), noisy(0.01), noisy(0.01, seed=1))
    )
    assert clean == none
    assert len({clean, little, other}) == 3


def test_noise_is_trained_and_no_noise_is_as_before() -> None:
    spec = spec_of(epochs=30)
    clean, noise = rows_of(spec, digits()), rows_of(spec, noisy(0.3))
    assert same(clean, rows_of(spec, noisy(0)))
    assert clean[-1].train_correct_base + clean[-1].train_correct_other > 250
    assert noise[0].train_correct_base + noise[0].train_correct_other < 200  # of 256: a third of the labels is wrong
    assert noise[-1].train_loss > 3 * clean[-1].train_loss


def test_resampling_goes_by_the_labels_that_are_trained() -> None:
    data = noisy(0.2)
    spec = spec_of(importance_weight="2:1", resample="drop", batch_size=None, epochs=1)
    (row,) = rows_of(spec, data)
    assert (row.train_n_base, row.train_n_other) == (data.class_sizes[0], round(data.class_sizes[1] / 2))


def test_noise_that_leaves_one_class_alone_is_said() -> None:
    pair = {"name": "points", "base": [[1]], "other": [[2]]}
    with pytest.raises(BadData, match=r"label_noise 0.5 leaves no example of one class among 2"):
        load(spec_of(dataset=pair | {"label_noise": 0.5}, batch_size=None).dataset, Path("unused"), locks_dir())
