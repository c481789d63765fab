"""The figure of one sweep or several: read from SQL, drawn, as bytes. It loads numpy and matplotlib, which the API
starts without: whoever needs it imports it then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple

from api.problems import RefusedQuery
from core.analysis.drawing import PictureFormat, Scale, wrapped
from core.analysis.figures import draw
from core.analysis.groups import shared_in_words
from core.analysis.panels import Group, NoSuchRow, SweepToDraw, chosen, groups_of
from core.analysis.runs import Run, run_of_counts
from core.states import ENDED
from core.store import experiments, runs, sweeps
from core.store.errors import NotFound
from core.store.experiments import Experiment
from core.store.session import Store
from core.store.sweeps import Sweep

MOST_MEMBERS = 1000  # that are read: the first ones
_LONGEST_NAME = 60  # columns: what tells the groups of a sweep apart stands behind it


@dataclass(frozen=True, slots=True)
class SweepRuns:
    """A sweep in one snapshot."""

    sweep: Sweep
    members: list[Experiment]  # in their order, the first ones
    runs: list[Run]  # theirs

    @property
    def complete(self) -> bool:
        """Whether all its members have ended."""
        return sum(self.sweep.counts[state] for state in ENDED) == sum(self.sweep.counts.values())

    @property
    def left_to_read(self) -> int:
        return sum(self.sweep.counts.values()) - len(self.members)


class Wanted(NamedTuple):
    """How a figure is drawn."""

    bands: bool = False
    rows: str | None = None  # None: all
    scale: Scale | None = None  # None: as many epochs as there are


def read_runs(store: Store, sweep_id: int, most: int = MOST_MEMBERS) -> SweepRuns:
    """Of the first `most` members. Raises NotFound."""
    with store.reading() as tx:
        sweep = sweeps.get(tx, sweep_id)
        members = experiments.members(tx, sweep_id, most)
        counts = runs.counts_of_sweep(tx, sweep_id, most)
    own = [
        run_of_counts(
            member.id,
            member.spec,
            counts.pop(member.id, ()),
            finite=member.diverged_at is None,
            ended=member.state in ENDED,
        )
        for member in members
    ]
    return SweepRuns(sweep, members, own)


def title_of(sweep: Sweep) -> str:
    """What it is called."""
    return sweep.name or sweep.preset or f"sweep {sweep.id}"


def figure_of_sweeps(store: Store, ids: Sequence[int], file_format: PictureFormat, wanted: Wanted) -> bytes:
    """Of the first sweep, and of those that `?with` names below it; each has its share of the lines that there may be.
    Raises NotFound and RefusedQuery."""
    twice = next((id for at, id in enumerate(ids) if id in ids[:at]), None)
    if twice is not None:
        raise RefusedQuery(422, "with", "names a sweep twice", twice)
    read = []
    for id in ids:
        try:
            read.append(read_runs(store, id, MOST_MEMBERS // len(ids)))
        except NotFound:
            if id == ids[0]:
                raise
            raise RefusedQuery(404, "with", "names no sweep that there is", id) from None
    return figure(read, file_format, wanted)


def figure(read: Sequence[SweepRuns], file_format: PictureFormat, wanted: Wanted, *, titled: bool = True) -> bytes:
    """Raises RefusedQuery."""
    several = len(read) > 1
    groups = groups_of([_to_draw(each, several) for each in read], bands=wanted.bands)
    if wanted.rows is not None:
        try:
            groups = chosen(groups, wanted.rows)
        except NoSuchRow as error:
            raise RefusedQuery(422, "rows", "is no row of this figure", error.wanted, error.there) from None
    shared = shared_in_words([member.spec for each in read for member in each.members])
    picture = BytesIO()
    draw(groups, _title(read, groups) if titled else "", picture, file_format, shared, wanted.scale)
    return picture.getvalue()


def _to_draw(each: SweepRuns, several: bool) -> SweepToDraw:
    sweep = each.sweep
    name = wrapped(sweep.name or sweep.preset or "", width=_LONGEST_NAME, most=1)
    title = ", ".join([f"sweep {sweep.id}", *name]) if several else ""
    specs = [member.spec for member in each.members]
    return SweepToDraw(title, sweep.preset, list(zip(specs, each.runs, strict=True)))


def _title(read: Sequence[SweepRuns], groups: Sequence[Group]) -> str:
    """What is drawn, and what of it is not shown: members beyond the first, rows that are still to come."""
    *others, last = [each.sweep for each in read]
    title = f"sweeps {', '.join(str(sweep.id) for sweep in others)} and {last.id}" if others else title_of(last)
    left = sum(each.left_to_read for each in read)
    if left:
        count = sum(len(each.members) for each in read)
        title += f" (the first {count} of {count + left})"
    lines = [line for group in groups for line in group.lines]
    begun = sum(len(line.epoch) > 0 for line in lines)
    if begun < len(lines) or not all(each.complete for each in read):
        title += f" ({begun} of {len(lines)} have rows)"
    return title
