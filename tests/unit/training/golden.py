"""The bits of some curves, weights and checkpoints, a line each, to be compared before and after a change that must not
change them: on one machine, since another may round otherwise.

python -m tests.unit.training.golden > before.txt
"""

import hashlib
from typing import Any

import torch
from safetensors import torch as safetensors

from core.results import Checkpoint, Command, EpochResult
from core.spec import Spec
from core.training import Data, Member, load, train
from tests.data import DATA
from tests.unit.training.builders import digits, locks_dir, small_mnist, spec_of

EMPTY = safetensors.save({})
MODELS: tuple[dict[str, Any], ...] = (
    {"name": "linear"},
    {"name": "mlp", "hidden": 16},
    {"name": "cnn", "width": 4},
    {"name": "cnn", "width": 4, "dropout": 0.5},
    {"name": "cnn", "width": 4, "dropout": 0.3},
    {"name": "resnet", "width": 4},
    {"name": "resnet", "width": 4, "batch_norm": False},
)
LOSSES = ("weight_sum", "batch_size", "dataset_mean")
OTHERS: tuple[dict[str, Any], ...] = (
    {"optimizer": {"momentum": 0.9, "weight_decay": 0.01}},
    {"batch_size": None, "importance_weight": "1:256"},
    {"eval_every": 2, "seed": 7, "epochs": 5},
    {"dataset": {"name": "digits", "base_class": "8", "other_class": "3", "train_per_class": 40, "eval_limit": 77}},
)


def main() -> None:
    torch.set_num_threads(1)
    for model in MODELS:
        _tell(spec_of(model=model, importance_weight="16:1"), digits())
        _tell(spec_of(model=model, importance_weight="1:4", dataset={"name": "mnist"}, epochs=1), small_mnist())
    for loss in LOSSES:
        _tell(spec_of(loss={"normalization": loss}, importance_weight="4:1"), digits())
    for fields in OTHERS:
        spec = spec_of(**fields)
        _tell(spec, load(spec.dataset, DATA, locks_dir()))


def _tell(spec: Spec, data: Data) -> None:
    """Its rows, and the checkpoint of every seventh step."""
    asked = iter(range(10**9))

    def every_seventh() -> Command:
        return Command.SAVE if next(asked) % 7 == 6 else Command.GO_ON

    told = hashlib.sha256()
    for _, given in train([Member(spec, None, every_seventh)], data):
        match given:
            case EpochResult():
                # The spec and the epoch beside the weights come in any order.
                weights = {name: each.tolist() for name, each in safetensors.load(given.weights or EMPTY).items()}
                row = repr((given._replace(seconds=0.0, weights=None), sorted(weights.items())))
                told.update(row.replace(", diagnostics=None", "").encode())  # a line is older than diagnostics
            case Checkpoint():
                told.update(repr(given).encode())
    print(told.hexdigest(), spec.model_dump_json(exclude_defaults=True))


if __name__ == "__main__":
    main()
