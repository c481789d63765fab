"""A sweep read whole and studied, and what is said of it to programs and people: its effect, its report. SQL first, in
one snapshot; statistics after it, in no transaction. It loads numpy and scipy, which the API starts without: whoever
needs it imports it then.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import NamedTuple

from api.effects import AgainstOut, ClaimOut, DisagreementsOut, GroupOut, SettlingsOut, SweepEffectOut
from core.analysis.document import SAYS
from core.analysis.effect_figures import draw_effect
from core.analysis.figures import draw
from core.analysis.groups import Line, shared_in_words, titled_groups
from core.analysis.report import EFFECT_FIGURE, FIGURE, Facts, report_html, report_markdown
from core.analysis.runs import IN_WORDS, Measured, Run, run_of_counts
from core.analysis.study import GroupStudy, Member, Study, comparisons, study
from core.results import Predictions
from core.states import ENDED
from core.store import experiments, runs, sweeps
from core.store.clock import rfc3339
from core.store.experiments import Experiment
from core.store.session import Store
from core.store.sweeps import Sweep

MOST_MEMBERS = 1000  # that are read: the first ones


class WholeSweep(NamedTuple):
    sweep: Sweep
    members: list[Experiment]  # in their order, the first `MOST_MEMBERS`
    runs: list[Run]  # theirs
    study: Study

    @property
    def complete(self) -> bool:
        """Whether all its members have ended."""
        return sum(self.sweep.counts[state] for state in ENDED) == sum(self.sweep.counts.values())

    @property
    def left_to_read(self) -> int:
        return sum(self.sweep.counts.values()) - len(self.members)


def studied(store: Store, sweep_id: int) -> WholeSweep:
    """Raises NotFound."""
    with store.reading() as tx:
        sweep = sweeps.get(tx, sweep_id)
        members = experiments.members(tx, sweep_id, MOST_MEMBERS)
        counts = runs.counts_of_sweep(tx, sweep_id, MOST_MEMBERS)
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

    def predictions_of(ids: list[int]) -> tuple[int | None, Mapping[int, Predictions]]:
        with store.reading() as tx:
            return runs.last_predictions(tx, ids)

    pairs = zip(members, own, strict=True)
    return WholeSweep(sweep, members, own, study([Member(each.spec, run) for each, run in pairs], predictions_of))


def line_of(run: Run) -> Line:
    """As a figure draws it."""
    in_domain, out_of_domain = _fractions(run.in_domain), _fractions(run.out_of_domain)
    return Line(run.importance_weight, run.seed, run.epoch.tolist(), in_domain, out_of_domain, not run.finite)


def _fractions(measured: Measured) -> list[float | None]:
    return (measured.base / measured.n).tolist() if measured.n else [None] * len(measured.base)


def title_of(sweep: Sweep) -> str:
    """What it is called."""
    return sweep.name or sweep.preset or f"sweep {sweep.id}"


def sweep_effect_out(whole: WholeSweep, other: WholeSweep | None) -> SweepEffectOut:
    return SweepEffectOut(
        sweep_id=whole.sweep.id,
        complete=whole.complete,
        epochs=whole.study.epochs[0],
        members=len(whole.members),
        left_to_read=whole.left_to_read,
        groups=[_group_out(group) for group in whole.study.groups],
        claims=[ClaimOut(says=SAYS[claim.claim], **claim._asdict()) for claim in whole.study.claims],
        against=None if other is None else _against_out(whole, other),
    )


def _group_out(group: GroupStudy) -> GroupOut:
    sets = {which: group.of(which) for which in IN_WORDS}
    return GroupOut(
        title=group.title,
        runs=group.runs,
        in_domain=group.in_domain,
        out_of_domain=group.out_of_domain,
        settling=SettlingsOut(**{which: of_set.settling for which, of_set in sets.items()}),
        disagreement=DisagreementsOut(
            epoch=group.disagreement_epoch, **{which: of_set.disagreement for which, of_set in sets.items()}
        ),
    )


def _against_out(whole: WholeSweep, other: WholeSweep) -> AgainstOut:
    found = comparisons(whole.study, other.study)
    reason = None if found else "no group of the one has the title of a group of the other"
    return AgainstOut(sweep_id=other.sweep.id, comparisons=found, reason=reason)


def _report_facts(whole: WholeSweep) -> Facts:
    sweep = whole.sweep
    counts = ", ".join(f"{count} {state}" for state, count in sweep.counts.items() if count)
    return Facts(
        sweep_id=sweep.id,
        title=title_of(sweep),
        preset=sweep.preset,
        made_at=rfc3339(sweep.created_ms),
        progress=counts or "no experiments",
        complete=whole.complete,
        left_to_read=whole.left_to_read,
        specs=[member.spec for member in whole.members],
        grids=[grid._asdict() for grid in sweep.grids],
        provenances=[member.provenance for member in whole.members if member.provenance],
    )


def figure_of(whole: WholeSweep) -> bytes:
    """SVG."""
    lines = [(member.spec, line_of(run)) for member, run in zip(whole.members, whole.runs, strict=True)]
    picture = BytesIO()
    draw(titled_groups(lines), "", picture, "svg", shared_in_words([spec for spec, _ in lines]))
    return picture.getvalue()


def effect_figure_of(whole: WholeSweep) -> bytes:
    """SVG."""
    picture = BytesIO()
    draw_effect(whole.study.groups, "", picture, "svg")
    return picture.getvalue()


def report_of(whole: WholeSweep) -> str:
    """One HTML page."""
    pictures = {FIGURE: figure_of(whole), EFFECT_FIGURE: effect_figure_of(whole)}
    return report_html(markdown_of(whole), title_of(whole.sweep), pictures)


def markdown_of(whole: WholeSweep) -> str:
    return report_markdown(whole.study, _report_facts(whole))
