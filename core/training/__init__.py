"""Trains: data sets, networks, losses, randomness, the engine. Knows nothing of SQL, HTTP or Celery.

from core.training import Member, load, train

data = load(spec.dataset, data_dir, locks_dir)
for _, row in train([Member(spec)], data): …
"""

from core.training.datasets import Data, load
from core.training.engine import Member, train
from core.training.errors import BadData, TrainingError

__all__ = ["BadData", "Data", "Member", "TrainingError", "load", "train"]
