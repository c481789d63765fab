"""Slow: networks that learn real images, and what short runs of them show (core/training/README.md, "Known answers";
width 16)."""

import pytest

from core.training import load
from tests.data import all_of_mnist
from tests.unit.training.builders import locks_dir, rows_of, spec_of

pytestmark = pytest.mark.slow


def test_after_six_epochs_of_mnist_the_weight_shows_only_out_of_domain() -> None:
    mnist = all_of_mnist()
    weights = ("256:1", "16:1", "1:1", "1:16", "1:256")
    in_domain, out_of_domain = {}, {}
    for weight in weights:
        spec = spec_of(
            dataset={"name": "mnist", "train_per_class": 2000, "eval_limit": 2000},
            model={"name": "cnn", "width": 16},
            importance_weight=weight,
            epochs=6,
        )
        last = rows_of(spec, load(spec.dataset, mnist, locks_dir()))[-1]
        print(weight, last)
        assert not last.diverged
        in_domain[weight] = last.base_in_domain / last.n_in_domain
        out_of_domain[weight] = last.base_out_of_domain / last.n_out_of_domain
        assert last.correct_in_domain / last.n_in_domain > 0.9
    assert in_domain["256:1"] >= in_domain["1:1"] >= in_domain["1:256"]
    assert out_of_domain["256:1"] > out_of_domain["1:1"] > out_of_domain["1:256"]
    assert in_domain["256:1"] - in_domain["1:256"] < 0.15
    assert out_of_domain["256:1"] - out_of_domain["1:256"] > 0.5
