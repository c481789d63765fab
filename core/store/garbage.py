"""What nobody needs any more: checkpoints of what ended long ago, files that nothing points to, expired keys and
sessions. A file is removed only where no running attempt can need it, and nothing can point to it again: of an
experiment that has ended its attempt has, and a pointer is copied from a pointer alone.
"""

import posixpath
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, case, func, select, update

from core.states import ENDED, State
from core.store import idempotency, sessions
from core.store.checkpoints import drop, folder, paths_without_pointer
from core.store.clock import now_ms
from core.store.files import File, Files
from core.store.moves import in_parts, lock_all
from core.store.session import Store
from core.store.tables import checkpoints, experiments

DAY_MS = 24 * 3_600_000
SAFE_AGE_S = 24 * 3600.0  # of a file that nothing points to: more than clocks differ, and belt beside braces

_NOT_ENDED = frozenset(State) - ENDED
_MAY_RUN = frozenset(State) - {State.SUCCEEDED}

_AT_A_TIME = 100  # experiments: nobody should wait for us


class Amount(NamedTuple):
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Garbage:
    """What was removed, or would be."""

    checkpoints: Amount  # of what ended long ago
    orphans: Amount  # to which nothing points
    keys: int
    sessions: int
    others: Amount  # of other databases, which stay


def collect(store: Store, files: Files, days: int, *, dry_run: bool, safe_age_s: float = SAFE_AGE_S) -> Garbage:
    """Removes it, unless `dry_run`. What is interrupted is left for the next time. Raises StoreError."""
    there = files.everything()  # before SQL is asked: what is written from now on is not in it
    of_old = _found_old(store, days) if dry_run else _drop_old(store, files, days)
    orphans = _orphans(store, [each for each in there if each.own and each.path not in of_old], safe_age_s)
    old = [each for each in there if each.own and each.path in of_old]
    if not dry_run:
        files.remove(each.path for each in orphans)
        _remove_empty(store, files, [*old, *orphans])
    expired_keys, expired_sessions = _expired(store) if dry_run else _remove_expired(store)
    return Garbage(
        checkpoints=_amount(old),
        orphans=_amount(orphans),
        keys=expired_keys,
        sessions=expired_sessions,
        others=_amount(each for each in there if not each.own),
    )


def _amount(files: Iterable[File]) -> Amount:
    sizes = [each.size for each in files]
    return Amount(len(sizes), sum(sizes))


# --- checkpoints of what ended long ago


def _is_old(days: int) -> ColumnElement[bool]:
    return experiments.c.state.in_(ENDED) & (experiments.c.ended_ms <= now_ms() - days * DAY_MS)


def _found_old(store: Store, days: int) -> set[str]:
    """The paths to which only such point."""
    needed = func.max(case((_is_old(days), 0), else_=1))
    query = select(checkpoints.c.path).join(experiments, experiments.c.id == checkpoints.c.experiment_id)
    with store.reading() as tx:
        return set(tx.execute(query.group_by(checkpoints.c.path).having(needed == 0)).scalars())


def _drop_old(store: Store, files: Files, days: int) -> set[str]:
    """Pointers first, in SQL, where an extension or a retry comes before or after; then their files."""
    removed: set[str] = set()
    while True:
        with store.writing() as tx:
            paths = _drop_some(tx, days)
        if paths is None:
            return removed
        files.remove(paths)
        removed.update(paths)


def _drop_some(tx: Connection, days: int) -> list[str] | None:
    """Of some experiments, which then have none, as if they had never been saved. Returns the paths that nobody points
    to any more; None where no experiment was left."""
    have = select(checkpoints.c.experiment_id).join(experiments, experiments.c.id == checkpoints.c.experiment_id)
    some = tx.execute(have.where(_is_old(days)).distinct().limit(_AT_A_TIME)).scalars().all()
    ids = [row.id for row in lock_all(tx, experiments.c.id.in_(some) & _is_old(days))]
    if not some:
        return None
    none_saved = {"checkpoint_row": 0, "checkpoint_step": 0, "checkpoint_device_kind": None}
    tx.execute(update(experiments).where(experiments.c.id.in_(ids)).values(none_saved))
    return drop(tx, checkpoints.c.experiment_id.in_(ids))


# --- files that nothing points to


def _orphans(store: Store, there: Sequence[File], safe_age_s: float) -> list[File]:
    """But for those of experiments that may still be written: what a killed worker has left of them goes with the next
    claim."""
    aged = [each for each in there if each.written_s <= time.time() - safe_age_s]
    with store.reading() as tx:
        in_use = _folders_of(tx, {each.experiment_id for each in aged}, _NOT_ENDED)
        free = [each for each in aged if each.folder not in in_use]
        paths = {path for part in in_parts(free) for path in paths_without_pointer(tx, [each.path for each in part])}
    return [each for each in free if each.path in paths]


def _remove_empty(store: Store, files: Files, removed: Iterable[File]) -> None:
    """Folders into which nobody writes again: into that of one that can be tried again a worker may just be writing."""
    by_folder = {posixpath.dirname(each.path): each for each in removed}
    with store.reading() as tx:
        may_write = _folders_of(tx, {each.experiment_id for each in by_folder.values()}, _MAY_RUN)
    for place, file in by_folder.items():
        if file.folder not in may_write:
            files.remove_empty(place)


def _folders_of(tx: Connection, ids: Collection[int], states: Collection[State]) -> set[str]:
    which = select(experiments.c.id, experiments.c.created_ms).where(experiments.c.state.in_(states))
    parts = in_parts(sorted(ids))
    return {folder(*row) for part in parts for row in tx.execute(which.where(experiments.c.id.in_(part)))}


# --- rows


def _expired(store: Store) -> tuple[int, int]:
    with store.reading() as tx:
        return idempotency.count_expired(tx), sessions.count_expired(tx)


def _remove_expired(store: Store) -> tuple[int, int]:
    keys = 0
    while True:
        with store.writing() as tx:
            some = idempotency.delete_some_expired(tx)
        if not some:
            break
        keys += some
    with store.writing() as tx:
        return keys, sessions.forget_expired(tx)
