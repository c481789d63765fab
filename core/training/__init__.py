"""Trains: data sets, networks, losses, randomness, the engine. Knows nothing of SQL, HTTP or Celery.

from core.training import Member, load, train

data = load(spec.dataset, data_dir, locks_dir)
for _, row in train([Member(spec)], data): …

It goes on from a checkpoint, Member(spec, checkpoint), and gives one where its command says so.

And again from the weights that were kept: predict(model_with(spec, data.input_shape, weights), data.in_domain)
"""

from core.training.checkpoint import require_readable
from core.training.datasets import Data, load
from core.training.engine import Member, train
from core.training.errors import BadCheckpoint, BadData, BadDevice, DeviceUnusable, TrainingError
from core.training.evaluation import Outputs, predict
from core.training.provenance import provenance
from core.training.weights import model_with

__all__ = [
    "BadCheckpoint",
    "BadData",
    "BadDevice",
    "Data",
    "DeviceUnusable",
    "Member",
    "Outputs",
    "TrainingError",
    "load",
    "model_with",
    "predict",
    "provenance",
    "require_readable",
    "train",
]
