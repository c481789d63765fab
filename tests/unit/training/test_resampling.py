"""Examples in proportion to the weights (core/training/README.md, "Resampling")."""

from collections import Counter

import pytest
import torch

from core.training import BadData, Data
from core.training.experiment import Experiment
from core.training.resampling import examples_of_epoch
from tests.unit.training.builders import an_epoch, digits, invented, rows_of, same, spec_of


def examples(weight: str, resample: str | None, data: Data | None = None, seed: int = 0) -> list[int]:
    spec = spec_of(importance_weight=weight, resample=resample, dataset={"name": "digits", "seed": seed})
    return examples_of_epoch(spec, data or digits()).tolist()


def by_output(chosen: list[int], data: Data | None = None) -> tuple[set[int], set[int]]:
    labels = (data or digits()).train_labels
    return {i for i in chosen if labels[i] == 0}, {i for i in chosen if labels[i] == 1}


@pytest.mark.parametrize(
    ("weight", "resample", "sizes"),  # of 133 + 136
    [
        ("16:1", None, (133, 136)),
        ("1:1", "drop", (133, 136)),
        ("1:1", "repeat", (133, 136)),
        ("4:1", "drop", (133, 34)),
        ("1:16", "drop", (8, 136)),  # 8.3
        ("0.5:8", "drop", (8, 136)),
        ("4:1", "repeat", (532, 136)),
        ("1:2.6", "repeat", (133, 408)),  # three times
    ],
)
def test_an_epoch_has_examples_in_proportion_to_the_weights(
    weight: str, resample: str | None, sizes: tuple[int, int]
) -> None:
    labels = digits().train_labels[examples(weight, resample)]
    assert torch.bincount(labels).tolist() == list(sizes)


def test_what_is_dropped_nests_and_the_seed_of_the_data_set_chooses_it() -> None:
    (two, _), (four, _), (sixteen, whole) = (by_output(examples(weight, "drop")) for weight in ("1:2", "1:4", "1:16"))
    assert sixteen < four < two
    assert len(whole) == 136
    assert by_output(examples("1:4", "drop", seed=1))[0] != four
    for chosen in (examples("1:4", "drop"), examples("4:1", "drop")):
        assert len(set(chosen)) == len(chosen)


def test_what_is_repeated_stands_equally_often() -> None:
    counts = Counter(examples("3:1", "repeat"))
    assert len(counts) == 269
    assert {counts[i] for i in range(133)} == {3}
    assert {counts[i] for i in range(133, 269)} == {1}


def test_the_weight_is_that_of_the_class_and_not_of_the_output() -> None:
    data = invented(base_index=1)  # 56 + 114, the base class second
    base, other = (by_output(examples("1:2", "drop", data), data)[output] for output in (1, 0))
    assert (len(base), len(other)) == (57, 56)


def test_the_loss_is_not_weighted_as_well() -> None:
    spec = spec_of(importance_weight="16:1", resample="drop", model={"name": "linear"})
    assert Experiment(spec, digits(), torch.float32)._objective.weights.tolist() == [1, 1]


def test_rows_count_what_was_met() -> None:
    row = rows_of(spec_of(importance_weight="3:1", resample="repeat", batch_size=None, epochs=1), digits())[0]
    assert (row.train_n_base, row.train_n_other) == (399, 136)


def test_one_to_one_changes_no_bit() -> None:
    plain = rows_of(spec_of(), digits())
    for resample in ("drop", "repeat"):
        assert same(plain, rows_of(spec_of(resample=resample), digits()))


def test_a_resampled_experiment_goes_on_from_a_checkpoint_with_the_same_bits() -> None:
    spec = spec_of(importance_weight="5:1", resample="repeat", epochs=3)
    one = Experiment(spec, digits(), torch.float32)
    an_epoch(one)
    other = Experiment(spec, digits(), torch.float32, one.checkpoint().content)
    assert torch.equal(an_epoch(one).losses, an_epoch(other).losses)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"importance_weight": "300:1", "resample": "drop"},
            "resample drop with weight 300:1 leaves no example of the",
        ),
        (
            {"importance_weight": "100000:1", "resample": "repeat"},
            "makes an epoch of 13300136 examples, more than 5000000",
        ),
        ({"importance_weight": "1:16", "resample": "drop", "batch_size": 145}, "batch_size 145 is larger than"),
    ],
)
def test_what_cannot_be_resampled_is_said(fields: dict[str, object], said: str) -> None:
    with pytest.raises(BadData, match=said):
        Experiment(spec_of(**fields), digits(), torch.float32)
