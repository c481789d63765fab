"""What the document published: its claims in words, and the final fractions read off its figures (± 0.005)."""

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from core.analysis.groups import SpecJson
from core.analysis.runs import IN_WORDS, Which
from core.paths import keys_of, leaves_by_path, value_at
from core.presets import FIGURES, Figure

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


def published_fractions(preset: str | None, spec: SpecJson) -> Mapping[Which, Mapping[str, float]]:
    """Of the figure that `preset` names, by test set and weight: the means of the last epochs; empty where none were
    read off, and where `spec` trains another network, or on other data, than the figure's."""
    figure = FIGURES.get(preset or "")
    if figure is None or not _is_of(figure, spec):
        return {"in_domain": {}, "out_of_domain": {}}
    return read_off()[preset or ""]


def _is_of(figure: Figure, spec: SpecJson) -> bool:
    fields = leaves_by_path(figure.base)
    return all(
        value_at(spec, keys_of(path)) == fields[path] for path in fields if path.startswith(("dataset", "model"))
    )


@cache
def read_off() -> Mapping[str, Mapping[Which, Mapping[str, float]]]:
    """By preset, test set and weight."""
    found: dict[str, dict[Which, dict[str, float]]] = {name: {which: {} for which in IN_WORDS} for name in FIGURES}
    lines = (files("core.analysis") / "published.csv").read_text().splitlines()
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        which: Which = "in_domain" if row["test_set"] == "in_domain" else "out_of_domain"
        found[f"figure-{row['figure']}"][which][row["importance_weight"]] = float(row["base_fraction"])
    return found
