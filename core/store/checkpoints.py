"""Pointers to checkpoints: which bytes an experiment goes on from. The bytes are the concern of `files`.

An experiment points to its newest two, and to farther ones that it could not reach. What nobody points to any more may
be removed; a child points to its parent's.
"""

import posixpath
from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from core.store.clock import now_ms
from core.store.tables import checkpoints, experiments

KEPT = 2
RESERVED_MS = 600_000  # for the kind of device that wrote it, since the experiment came back into the queue


class Saved(NamedTuple):
    """A checkpoint whose bytes lie safe."""

    epoch: int  # whole epochs
    step: int  # of the next one
    iteration: int  # steps, through epochs
    path: str
    sha256: str
    numerics: str  # the numerics key, as JSON
    device_kind: str  # of the device that wrote it


class Pointer(NamedTuple):
    id: int
    attempt: int  # who wrote it
    epoch: int
    step: int
    iteration: int
    path: str
    sha256: str
    numerics: str


def folder(experiment_id: int, created_ms: int) -> str:
    """Where an experiment's own checkpoints lie. Two databases that share a place do not share folders."""
    return f"{experiment_id}-{created_ms}"


def farthest_first(tx: Connection, experiment_id: int) -> list[Pointer]:
    own = select(*(checkpoints.c[name] for name in Pointer._fields)).where(checkpoints.c.experiment_id == experiment_id)
    return [Pointer(*row) for row in tx.execute(own.order_by(checkpoints.c.iteration.desc(), checkpoints.c.id.desc()))]


def newest_at_the_end(tx: Connection, which: ColumnElement[bool]) -> dict[int, Pointer]:
    """By the ids of the experiments that are meant: to what was saved after their last epoch; none where it was not."""
    query = (
        select(checkpoints.c.experiment_id, *(checkpoints.c[name] for name in Pointer._fields))
        .join(experiments, experiments.c.id == checkpoints.c.experiment_id)
        .where(which, checkpoints.c.epoch == experiments.c.epochs_total, checkpoints.c.step == 0)
        .order_by(checkpoints.c.id)
    )
    return {experiment_id: Pointer(*pointer) for experiment_id, *pointer in tx.execute(query)}


def add(tx: Connection, experiment_id: int, attempt: int, saved: Saved) -> list[str]:
    """Point to what was saved, to one before it, and to those that it has not come up to again: they could not be
    reached, and perhaps they can soon. Harmless to repeat. Returns the paths that nobody points to any more."""
    again = (checkpoints.c.experiment_id == experiment_id) & (checkpoints.c.path == saved.path)
    tx.execute(delete(checkpoints).where(again))
    tx.execute(
        insert(checkpoints).values(
            experiment_id=experiment_id,
            attempt=attempt,
            epoch=saved.epoch,
            step=saved.step,
            iteration=saved.iteration,
            path=saved.path,
            sha256=saved.sha256,
            numerics=saved.numerics,
            created_ms=now_ms(),
        )
    )
    passed = [each for each in farthest_first(tx, experiment_id) if each.iteration <= saved.iteration]
    older = sorted((each.id for each in passed), reverse=True)[KEPT:]
    return drop(tx, checkpoints.c.id.in_(older)) if older else []


def drop(tx: Connection, which: ColumnElement[bool]) -> list[str]:
    """Point to them no more. Returns the paths that nobody points to any more."""
    paths = list(tx.execute(delete(checkpoints).where(which).returning(checkpoints.c.path)).scalars())
    return paths_without_pointer(tx, paths)


def paths_without_pointer(tx: Connection, paths: Collection[str]) -> list[str]:
    """Those of `paths` that nobody points to."""
    pointed = set(tx.execute(select(checkpoints.c.path).where(checkpoints.c.path.in_(paths))).scalars())
    return [path for path in paths if path not in pointed]


def folders_of(tx: Connection, ids: Sequence[int]) -> set[str]:
    """Where bytes of these experiments lie: their own folders, and those that they point into."""
    own = tx.execute(select(experiments.c.id, experiments.c.created_ms).where(experiments.c.id.in_(ids)))
    paths = tx.execute(select(checkpoints.c.path).where(checkpoints.c.experiment_id.in_(ids))).scalars()
    return {folder(*row) for row in own} | {posixpath.dirname(path) for path in paths}
