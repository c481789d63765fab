"""Whatever a sweep's runs are, its study and its report say something honest of them: no number that is none, no band
of no width, no sentence that is not one, nothing about runs that there are not.
"""

import json
import re
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.analysis.effect import Verdict
from core.analysis.report import Facts, report_markdown
from core.analysis.runs import IN_WORDS, Run, fit_of_run
from core.analysis.study import Member, Study, comparisons, study
from core.analysis.verdicts import Answer
from core.results import Predictions
from tests.unit.analysis.builders import a_spec, numbered
from tests.unit.analysis.test_any_runs import SPECS, estimates, groups

# Nothing that a reader would stumble over: no word of Python's, no band that is as wide as nothing, no plural of one.
UNREADABLE = (
    r"\b(nan|None|inf|NaN|True|False)\b",
    r"(?<![-\d.])(-?\d+\.\d+) to \1\b",
    r"-0\.0+\b(?!\d)",
    r"(?<!of )\b1 (seeds|runs|fractions|experiments|rows|epochs)\b",
    r"\b0 seeds\b",
    r"(?<=\S)  ",
    r"\.\.",
    r"[:;,]\.",
)


class Sweep(NamedTuple):
    members: list[Member]
    kept: dict[int, Predictions]  # by run; none have kept any, or all

    def __repr__(self) -> str:
        return "\n".join(f"{run.importance_weight} seed {run.seed} {fit_of_run(run)}" for _, run in self.members)

    def studied(self) -> Study:
        def predictions_of(ids: list[int]) -> tuple[int | None, dict[int, Predictions]]:
            return (4, {id: self.kept[id] for id in ids}) if self.kept and ids else (None, {})

        return study(self.members, predictions_of)

    def reported(self) -> str:
        specs = [spec for spec, _ in self.members]
        facts = Facts(3, "a sweep", None, "2026-01-01T00:00:00.000Z", "1 running", False, 0, specs, [], [])
        page = report_markdown(self.studied(), facts)
        return re.sub(r"\\(.)", r"\1", page.partition("## Where it comes from")[0])


@st.composite
def sweeps(draw: st.DrawFn) -> Sweep:
    """Of one spec or two."""
    specs = draw(st.lists(st.sampled_from(SPECS), min_size=1, max_size=2, unique_by=str))
    epochs = draw(st.sampled_from([4, 12, 900]))
    pairs = [(a_spec(**spec, epochs=epochs), run) for spec in specs for run in draw(groups())]
    members = [
        Member(spec | {"importance_weight": run.importance_weight, "seed": run.seed}, run)
        for (spec, _), run in zip(pairs, numbered([run for _, run in pairs]), strict=True)
    ]
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share, keep = draw(st.sampled_from([0.0, 0.01, 0.5])), draw(st.booleans())

    def predictions(run: Run) -> Predictions:
        return Predictions(*(np.packbits(random.random(run.measured(which).n) < share).tobytes() for which in IN_WORDS))

    return Sweep(members, {run.id: predictions(run) for _, run in members} if keep else {})


@settings(max_examples=30)
@given(sweeps())
def test_all_that_is_said_can_be_read(sweep: Sweep) -> None:
    found = sweep.studied()
    json.dumps(found, allow_nan=False)
    for each in estimates(found):
        assert (each.low is None) == (each.high is None)
        assert each.low is None or each.low < each.estimate < each.high
    text = sweep.reported()
    for pattern in UNREADABLE:
        said = re.search(f".{{0,99}}(?:{pattern}).{{0,99}}", text)
        assert not said, (pattern, said[0])


@settings(max_examples=30)
@given(sweeps())
def test_every_claim_and_every_effect_is_a_verdict_with_its_reason(sweep: Sweep) -> None:
    found = sweep.studied()
    for effect in (
        effect
        for group in found.groups
        for which in IN_WORDS
        for effect in (group.of(which).fit_runs, group.of(which).all_runs)
    ):
        assert effect.verdict is not Verdict.UNDECIDED or effect.reason
        assert not (effect.slope and effect.slope.all_equal) or effect.reason
    sizes = {group.title: len(group.runs) for group in found.groups}
    for claim in found.claims:
        assert re.fullmatch(r"[A-Z].*\.", claim.sentence), claim
        assert (claim.verdict is Answer.UNDECIDED) == bool(claim.would_decide)
        if len(claim.groups) == 1 and (said := re.search(r"(\d+) of (\d+) runs left out: ([^.]*)", claim.sentence)):
            assert (int(said[1]), int(said[2])) == (len(claim.left_out), sizes[claim.groups[0]])
            assert sum(map(int, re.findall(r"(\d+) [a-z]", re.sub(r"\(.*?\)", "", said[3])))) == int(said[1])


@settings(max_examples=15)
@given(sweeps(), sweeps())
def test_any_two_sweeps_are_compared(first: Sweep, second: Sweep) -> None:
    json.dumps(comparisons(first.studied(), second.studied()), allow_nan=False)
