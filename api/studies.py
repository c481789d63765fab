"""A sweep read whole and studied, and what is said of it to programs and people: its effect, its report. SQL first, in
one snapshot; statistics after it, in no transaction. It loads numpy and scipy, which the API starts without: whoever
needs it imports it then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

from api.effects import AgainstOut, ClaimOut, DisagreementsOut, GroupOut, SettlingsOut, SweepEffectOut
from api.figures import SweepRuns, Wanted, figure, read_runs, title_of
from core.analysis.document import SAYS
from core.analysis.effect import FEWEST_WEIGHTS
from core.analysis.effect_figures import draw_effect
from core.analysis.report import EFFECT_FIGURE, FIGURE, Facts, report_html, report_markdown
from core.analysis.runs import IN_WORDS
from core.analysis.study import GroupStudy, Member, Study, comparisons, study
from core.results import Predictions
from core.store import runs
from core.store.clock import rfc3339
from core.store.session import Store


@dataclass(frozen=True, slots=True)
class WholeSweep(SweepRuns):
    study: Study


def studied(store: Store, sweep_id: int) -> WholeSweep:
    """Raises NotFound."""
    read = read_runs(store, sweep_id)

    def predictions_of(ids: list[int]) -> tuple[int | None, Mapping[int, Predictions]]:
        with store.reading() as tx:
            return runs.last_predictions(tx, ids)

    pairs = zip(read.members, read.runs, strict=True)
    found = study([Member(each.spec, run) for each, run in pairs], predictions_of)
    return WholeSweep(read.sweep, read.members, read.runs, found)


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
    reason = None
    if not found:
        reason = "no group of the one has the title of a group of the other"
    elif not any(each.in_domain_slope or each.out_of_domain_slope for each in found):
        reason = (
            f"one of the two has no slope, or neither: it takes a seed that has {FEWEST_WEIGHTS} weights with fit runs"
        )
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


def effect_figure_of(whole: WholeSweep) -> bytes:
    """SVG."""
    picture = BytesIO()
    draw_effect(whole.study.groups, "", picture, "svg")
    return picture.getvalue()


def report_of(whole: WholeSweep) -> str:
    """One HTML page."""
    pictures = {FIGURE: figure([whole], "svg", Wanted(), titled=False), EFFECT_FIGURE: effect_figure_of(whole)}
    return report_html(markdown_of(whole), title_of(whole.sweep), pictures)


def markdown_of(whole: WholeSweep) -> str:
    return report_markdown(whole.study, _report_facts(whole))
