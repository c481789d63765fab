"""What an experiment costs: images counted as they are published, and the time that they take."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cost import ANYWHERE, Cost, Images, Known, Place, Rate, cost_of, epoch_seconds, images_of, kind_of, network_of
from core.spec import Spec
from core.training import Member, load, train
from tests.unit.training.builders import digits, locks_dir


def spec(dataset: dict[str, Any], **fields: Any) -> Spec:
    return Spec.model_validate({"dataset": dataset, "importance_weight": "1:1"} | fields)


IMAGES = ("digits", "mnist", "fashion_mnist", "cifar10", "image_folder")
FOLDER = {"name": "image_folder", "folder": "f", "base_class": "a", "other_class": "b"}


@pytest.mark.parametrize(
    ("dataset", "images"),
    [
        ({"name": "cifar10"}, Images(10_000, 10_000)),
        ({"name": "mnist"}, Images(12_656, 10_000)),  # of 5923 + 6742, in batches of 16
        ({"name": "mnist", "base_class": "3", "other_class": "5"}, Images(11_552, 10_000)),  # of 6131 + 5421
        ({"name": "fashion_mnist"}, Images(12_000, 10_000)),
        ({"name": "digits"}, Images(256, 91 + 1437)),  # of 133 + 136
        ({"name": "cifar10", "train_per_class": 100, "eval_limit": 3000}, Images(192, 2000 + 3000)),
        ({"name": "two_gaussians"}, Images(32, 1000)),
        ({"name": "moons"}, Images(192, 1000)),
        ({"name": "blobs"}, Images(192, 1000)),
        ({"name": "points", "base": [[1], [2]], "other": [[3]] * 15, "test_base": [[3]]}, Images(16, 1)),
        (FOLDER, None),
        (FOLDER | {"train_per_class": 8}, None),
        (FOLDER | {"train_per_class": 8, "eval_limit": 50}, Images(16, 100)),
    ],
)
def test_images_are_counted_without_reading_any(dataset: dict[str, Any], images: Images | None) -> None:
    model = {"name": "cnn" if dataset["name"] in IMAGES else "mlp"}
    assert images_of(spec(dataset, model=model)) == images


def test_the_full_batch_is_every_image() -> None:
    assert images_of(spec({"name": "mnist"}, batch_size=None)) == Images(5923 + 6742, 10_000)


def test_an_epoch_of_resampled_examples_is_as_long_as_it_is() -> None:
    fields: dict[str, Any] = {"importance_weight": "4:1", "batch_size": None}
    assert images_of(spec({"name": "digits"}, resample="drop", **fields)) == Images(133 + 34, 91 + 1437)
    assert images_of(spec({"name": "digits"}, resample="repeat", **fields)) == Images(532 + 136, 91 + 1437)
    assert images_of(spec({"name": "digits"}, **fields)) == Images(269, 91 + 1437)
    drops = [spec({"name": "digits"}, resample="drop", importance_weight=weight) for weight in ("4:1", "4.0:1", "8:1")]
    assert kind_of(drops[0]) == kind_of(drops[1]) != kind_of(drops[2])


def test_diagnostics_evaluate_a_thousand_images_more() -> None:
    assert images_of(spec({"name": "cifar10"}, diagnostics=True)) == Images(10_000, 11_000)


def test_digits_are_counted_as_they_are_loaded() -> None:
    data = digits()
    tests = len(data.in_domain) + len(data.out_of_domain)
    assert images_of(spec({"name": "digits"}, batch_size=1)) == Images(len(data.train), tests)


FEW = {"name": "digits", "train_per_class": 40, "eval_limit": 100}
NOISY = {"name": "digits", "label_noise": 0.25}
POINTS = {"name": "points", "base": [[1, 2, 3]] * 9, "other": [[3, 2, 1]] * 5, "test_base": [[1, 2, 2]]}


@pytest.mark.parametrize("diagnostics", [False, True])
@pytest.mark.parametrize("batch_size", [4, None])
@pytest.mark.parametrize(
    ("dataset", "resample"),
    [
        ({"name": "digits"}, None),
        (NOISY, None),
        (FEW, "drop"),
        (FEW, "repeat"),
        ({"name": "two_gaussians"}, "drop"),
        ({"name": "moons", "label_noise": 0.1}, None),
        ({"name": "blobs"}, "repeat"),
        (POINTS, None),
        (POINTS, "drop"),
    ],
)
def test_images_are_those_that_are_trained_and_evaluated(
    dataset: dict[str, Any], resample: str | None, batch_size: int | None, diagnostics: bool
) -> None:
    assert images_of(trained := one_epoch(dataset, resample, batch_size, diagnostics)) == counted(trained)


@pytest.mark.parametrize("resample", ["drop", "repeat"])
def test_resampled_images_under_label_noise_are_those_of_the_mean_over_what_is_turned(resample: str) -> None:
    """Of 10 + 190 labels 60 are turned: 64 + 136 in the mean."""
    lopsided = {"name": "points", "base": [[1.0]] * 10, "other": [[2.0]] * 190, "label_noise": 0.3}
    own = [counted(one_epoch(lopsided | {"seed": seed}, resample, None, False)).train for seed in range(30)]
    expected = images_of(one_epoch(lopsided, resample, None, False))
    assert expected
    assert expected.train == pytest.approx(sum(own) / 30, rel=0.02)
    without = images_of(one_epoch(lopsided | {"label_noise": 0.0}, resample, None, False))
    assert without
    assert abs(without.train - sum(own) / 30) > 0.1 * without.train


def one_epoch(dataset: dict[str, Any], resample: str | None, batch_size: int | None, diagnostics: bool) -> Spec:
    fields = {"resample": resample, "batch_size": batch_size, "diagnostics": diagnostics}
    return spec(dataset, model={"name": "linear"}, **fields | {"importance_weight": "4:1", "epochs": 1})


def counted(trained: Spec) -> Images:
    """By the row of its epoch."""
    ((_, row),) = train([Member(trained)], load(trained.dataset, Path("unused"), locks_dir()))
    noise = row.diagnostics.n_noise if row.diagnostics else 0
    return Images(row.train_n_base + row.train_n_other, row.n_in_domain + row.n_out_of_domain + noise)


def test_a_network_is_named_by_what_decides_its_speed() -> None:
    models = [
        {"name": "cnn", "dropout": 0.5},
        {"name": "resnet"},
        {"name": "resnet", "width": 16, "batch_norm": False},
        {"name": "mlp", "hidden": 8},
        {"name": "linear"},
    ]
    names = [network_of(spec({"name": "mnist"}, model=model).model) for model in models]
    assert names == ["cnn 64", "resnet 64 batch_norm", "resnet 16", "mlp 8", "linear"]


def test_an_epoch_takes_its_images_over_the_rates_and_evaluates_in_the_mean() -> None:
    rate = Rate(train=100, evaluate=1000)
    cifar10 = {"name": "cifar10"}
    assert epoch_seconds(spec(cifar10), rate) == 100 + 10
    assert epoch_seconds(spec(cifar10, epochs=10, eval_every=5), rate) == 100 + 2
    assert epoch_seconds(spec(cifar10, epochs=11, eval_every=5), rate) == pytest.approx(100 + 10 * 3 / 11)
    assert epoch_seconds(spec(FOLDER), rate) is None


GPU, CPU = Place("a", "H100"), Place("b", "cpu")


def on_gpu_and_cpu(seconds: dict[Place, float]) -> Any:
    return lambda spec, place: Known(seconds[place] * spec.dataset.seed, True) if place in seconds else None


def short(*epochs: int) -> list[Spec]:
    """Whose epochs take one second of a unit each."""
    return [spec({"name": "digits", "seed": 1}, epochs=n) for n in epochs]


def test_each_worker_takes_the_next_when_it_is_free() -> None:
    """The GPU, four times as fast, takes three of the four: 10, 10 and 5 epochs, while the CPU trains 8."""
    cost = cost_of(short(10, 8, 10, 5), [GPU, CPU], on_gpu_and_cpu({GPU: 1, CPU: 4}))
    assert cost == Cost(32, 10 + 32 + 10 + 5, 2, 2, measured=4, benchmarked=0, unknown=0)


def test_whoever_is_not_known_to_be_able_takes_nothing() -> None:
    assert cost_of(short(10, 8), [GPU, CPU], on_gpu_and_cpu({GPU: 1})) == Cost(18, 18, 2, 1, 2, 0, 0)
    assert cost_of(short(10, 8), [CPU], on_gpu_and_cpu({GPU: 1})) == Cost(None, None, 1, 0, 0, 0, 2)
    assert cost_of([], [CPU], on_gpu_and_cpu({CPU: 1})) == Cost(None, None, 1, 0, 0, 0, 0)


def test_without_workers_the_work_is_known_and_its_end_is_not() -> None:
    known = Known(2.0, measured=False)
    cost = cost_of(short(10, 8), [], lambda _, place: known if place == ANYWHERE else None)
    assert cost == Cost(None, 36, 0, 0, measured=0, benchmarked=2, unknown=0)


@given(epochs=st.lists(st.integers(1, 50), min_size=1, max_size=30), workers=st.integers(1, 6))
def test_equal_workers_share_the_work(epochs: list[int], workers: int) -> None:
    cost = cost_of(short(*epochs), [CPU] * workers, on_gpu_and_cpu({CPU: 1}))
    assert cost.device_seconds == sum(epochs)
    assert cost.seconds is not None
    assert max(max(epochs), sum(epochs) / workers) <= cost.seconds <= sum(epochs) / workers + max(epochs)
