"""What the document published: its claims in words, and the final fractions read off its figures (± 0.005)."""

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from core.analysis.groups import SpecJson
from core.analysis.runs import IN_WORDS, Which
from core.paths import keys_of, leaves_by_path, value_at
from core.presets import FIGURES, Figure
from core.spec import Spec

SAYS = {
    "C1": "heavy weights move the boundary early",
    "C2": "without regularisation the effect fades: all weights agree in the end",
    "C3": "the out-of-domain fraction tends to 0.3 on CIFAR-10, to 0.5 on MNIST",
    "C4": "all weights come to a similar decision boundary",
    "C5": "MNIST settles sooner than CIFAR-10",
    "C6": "with L2 regularisation the weights do not come together",
    "C7": "with dropout the effect still fades",
    "C8": "with batch norm the effect fades; on MNIST in-domain there is none at all",
    "C9": "without batch norm the weights matter more",
}

NOTHING_PUBLISHED: Mapping[Which, Mapping[str, float]] = {"in_domain": {}, "out_of_domain": {}}
_DECIDES = (
    *("dataset.name", "dataset.base_class", "dataset.other_class", "dataset.label_noise"),
    *("model.name", "model.dropout", "model.batch_norm", "loss", "resample"),
)


def published_fractions(preset: str | None, spec: SpecJson) -> Mapping[Which, Mapping[str, float]]:
    """Of the figure of `preset` that `spec` belongs to, by test set and weight: the means of the last epochs; empty
    where none were read off, and where it trains another network, otherwise, or on other data."""
    for name, figure in FIGURES.items():
        if preset in (name, "paper") and _is_of(figure, spec):
            return read_off()[name]
    return NOTHING_PUBLISHED


def _is_of(figure: Figure, spec: SpecJson) -> bool:
    """In what the paper's figures differ in; not in how large, how fast or how long it is trained, nor in the weight
    decay of those that have one, which the paper does not tell."""
    own = Spec.model_validate({**figure.base, "importance_weight": "1:1"}).model_dump(mode="json")
    decay = ["optimizer", "weight_decay"]
    if bool(value_at(spec, decay)) != bool(value_at(own, decay)):
        return False
    return all(value_at(spec, keys_of(path)) == leaf for path, leaf in leaves_by_path(own).items() if _decides(path))


def _decides(path: str) -> bool:
    return path.startswith(_DECIDES)


@cache
def read_off() -> Mapping[str, Mapping[Which, Mapping[str, float]]]:
    """By preset, test set and weight."""
    found: dict[str, dict[Which, dict[str, float]]] = {name: {which: {} for which in IN_WORDS} for name in FIGURES}
    lines = (files("core.analysis") / "published.csv").read_text().splitlines()
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        which: Which = "in_domain" if row["test_set"] == "in_domain" else "out_of_domain"
        found[f"figure-{row['figure']}"][which][row["importance_weight"]] = float(row["base_fraction"])
    return found
