"""Each claim of the document: held, failed and left undecided by construction, in sentences that can be read."""

from typing import Any

import numpy as np
import pytest

from core.analysis.claims import claims_of
from core.analysis.disagreement import Disagreement
from core.analysis.intervals import estimate_over
from core.analysis.runs import Left, Run
from core.analysis.verdicts import Answer, Claim, Studied, seeds_that_would
from core.fit import Fit
from tests.unit.analysis.builders import MNIST_WEIGHTS, a_group, a_run, a_spec, numbered, published
from tests.unit.analysis.test_effect import about

HOLDS, FAILS, UNDECIDED = Answer
EQUAL = dict.fromkeys(MNIST_WEIGHTS, 0.464)


def a_study(runs: list[Run], title: str = "", **spec: Any) -> Studied:
    return Studied(title, a_spec(**{"epochs": 1000} | spec), runs, {})


def says(name: str, *groups: Studied) -> Claim:
    """What the groups say of a claim, once."""
    (claim,) = [claim for claim in claims_of(groups) if claim.claim == name]
    return claim


def moved(claim: Claim) -> tuple[Answer, str | None]:
    return claim.verdict, claim.would_decide


def settling_at(epoch: int, seeds: int = 3, rows: int = 1000) -> list[Run]:
    """Base first, then 0.5 for good; seeds and weights a little apart."""
    return numbered(
        [
            a_run(weight, seed, np.where(np.arange(1, rows + 1) <= epoch + 2 * seed + at, 0.9, 0.5))
            for at, weight in enumerate(MNIST_WEIGHTS)
            for seed in range(seeds)
        ]
    )


def heavy_at_first(early: float, seeds: int = 3) -> list[Run]:
    """The heaviest base begins at `early`, the others at 0.5."""
    random = np.random.default_rng(1)
    return numbered(
        [
            a_run(w, seed, np.full(20, early if w == "256:1" else 0.5) + random.normal(0, 0.01, 20))
            for w in MNIST_WEIGHTS
            for seed in range(seeds)
        ]
    )


def with_rows(runs: list[Run], rows: int) -> list[Run]:
    """The same to a later end."""
    return [run._replace(epoch=run.epoch + rows - run.epoch[-1]) for run in runs]


@pytest.mark.parametrize(
    ("spec", "claims"),
    [
        ({"model": {"name": "cnn"}}, ["C1", "C2", "C3", "C4"]),
        ({"dataset": {"name": "digits"}, "model": {"name": "mlp"}}, ["C1", "C2", "C4"]),
        ({"model": {"name": "linear"}}, ["C1", "C3"]),
        ({"optimizer": {"weight_decay": 0.001}}, ["C1", "C6"]),
        ({"model": {"name": "cnn", "dropout": 0.5}}, ["C1", "C3", "C4", "C7"]),
        ({"model": {"name": "resnet"}}, ["C1", "C3", "C4", "C8"]),
        ({"dataset": {"name": "mnist"}, "model": {"name": "resnet"}}, ["C1", "C3", "C4", "C8", "C8"]),
        ({"model": {"name": "resnet", "batch_norm": False}}, ["C1", "C2", "C3", "C4", "C9"]),
        ({"dataset": {"name": "cifar10", "base_class": "frog"}}, ["C1", "C2", "C4"]),
    ],
)
def test_which_claims_a_spec_can_speak_to(spec: dict[str, Any], claims: list[str]) -> None:
    assert [claim.claim for claim in claims_of([a_study([], **spec)])] == claims


def test_what_the_document_does_not_train_says_nothing_of_its_claims() -> None:
    other = a_study(a_group(EQUAL), optimizer={"lr": 0.1})
    newer = [
        other._replace(spec=other.spec | {"loss": {"name": "polynomial"}}),
        other._replace(spec=other.spec | {"resample": "drop"}),
        other._replace(spec=other.spec | {"dataset": other.spec["dataset"] | {"label_noise": 0.1}}),
    ]
    assert claims_of([other])
    assert claims_of(newer) == []


def test_c1_heavy_weights_move_the_boundary_early() -> None:
    assert says("C1", a_study(heavy_at_first(0.9))).verdict is HOLDS
    claim = says("C1", a_study(heavy_at_first(0.5)))
    assert claim.verdict is FAILS
    assert claim.estimate is not None
    assert claim.estimate < 0.08
    one = says("C1", a_study(heavy_at_first(0.9, seeds=1)))
    assert (one.verdict, one.n) == (UNDECIDED, 1)


def test_no_interval_of_a_spread_leaves_what_a_spread_can_be() -> None:
    """Of 0.5, 0.9 and 1.0, Student's t over seeds would end at 1.457."""
    runs = [
        a_run(weight, seed, [early if weight == "256:1" else 0.0, *[0.0] * 19], [0.5] * 20)
        for weight in MNIST_WEIGHTS
        for seed, early in enumerate((0.5, 0.9, 1.0))
    ]
    early = says("C1", a_study([run._replace(epoch=run.epoch + 9) for run in numbered(runs)]))
    assert (early.estimate, early.low, early.high) == (pytest.approx(0.8), pytest.approx(0.1428, abs=1e-4), 1)
    mnist = a_study(numbered(runs), dataset={"name": "mnist"}, model={"name": "resnet"})
    _, at_all = (claim for claim in claims_of([mnist]) if claim.claim == "C8")
    assert (at_all.estimate, at_all.low, at_all.high) == (early.estimate, early.low, 1)


def test_c1_is_not_told_from_networks_that_have_not_started() -> None:
    constants = a_group({"256:1": 1.0, "1:1": 1.0, "1:256": 0.0}, scatter=0)
    claim = says("C1", a_study(constants))
    assert moved(claim) == (UNDECIDED, "runs that start earlier would: most are constant")
    assert "9 of 9 runs predict one class for every image until then" in claim.sentence


def test_c1_needs_rows_of_the_first_epochs() -> None:
    late = [run._replace(epoch=run.epoch + 10) for run in a_group(EQUAL)]
    assert moved(says("C1", a_study(late))) == (UNDECIDED, "rows of these epochs would")


def test_c1_does_not_fail_before_every_weight_has_come_to_epoch_10() -> None:
    flat = a_group(EQUAL, rows=12)
    assert says("C1", a_study(flat)).verdict is FAILS
    assert moved(says("C1", a_study(a_group(EQUAL, rows=5)))) == (UNDECIDED, "rows up to epoch 10 would")
    heavy = [run._replace(finite=run.importance_weight != "256:1") for run in flat]
    assert says("C1", a_study(heavy)).would_decide == "runs of 256:1 that have learned would: there are none"


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("C2", {"model": {"name": "cnn"}}),
        ("C7", {"model": {"name": "cnn", "dropout": 0.5}}),
        ("C8", {"model": {"name": "resnet"}}),
    ],
)
def test_c2_c7_c8_the_effect_fades(name: str, spec: dict[str, Any]) -> None:
    assert says(name, a_study(with_rows(a_group(about(0.0), seeds=5), 1000), **spec)).verdict is HOLDS
    claim = says(name, a_study(with_rows(a_group(about(0.1)), 1000), **spec))
    assert (claim.verdict, claim.n, claim.would_decide) == (FAILS, 3, None)
    assert claim.estimate == pytest.approx(0.1, abs=0.01)
    assert "in-domain not faded (slope 0.1" in claim.sentence


def test_c7_of_runs_of_which_dropout_hides_whether_they_have_learned() -> None:
    """That the effect has faded is true of all that may have learned; that it has not, of those that have."""
    dropout = {"model": {"name": "cnn", "dropout": 0.5}}
    faded = with_rows(a_group(about(0.0), seeds=5, accuracy=0.9, drops=True), 1000)
    claim = says("C7", a_study(faded, **dropout))
    assert (claim.verdict, claim.n, claim.left_out) == (HOLDS, 5, [])
    assert "Of 25 of 25 runs it is unclear whether they have learned: with dropout on, in training," in claim.sentence
    kept = with_rows(a_group(about(0.1), seeds=5, accuracy=0.9, drops=True), 1000)
    claim = says("C7", a_study(kept, **dropout))
    assert (claim.verdict, claim.estimate) == (UNDECIDED, None)
    assert "25 of 25 runs left out: 25 unclear (below 99 % in training, with dropout on)" in claim.sentence
    assert claim.would_decide
    assert claim.would_decide.startswith("runs that have learned would")
    certain = [
        run._replace(drops=False, accuracy_base=run.accuracy_base / 0.9, accuracy_other=run.accuracy_other / 0.9)
        for run in kept[:-1]
    ]
    assert says("C7", a_study([*certain, kept[-1]], **dropout)).verdict is FAILS
    without = [run._replace(drops=False) for run in faded]
    assert says("C7", a_study(without, **dropout)).verdict is UNDECIDED


def test_before_800_epochs_a_clear_effect_is_held_against_nobody() -> None:
    claim = says("C2", a_study(a_group(about(0.1)), epochs=200))
    assert moved(claim) == (UNDECIDED, "800 epochs would: of fewer the document says nothing")


def test_all_weights_agree_only_where_each_has_a_run_that_has_learned() -> None:
    runs = a_group(about(0.0), seeds=5)
    lost = [run._replace(accuracy_other=run.accuracy_other * 0.9) for run in runs[:5]] + runs[5:]
    claim = says("C2", a_study(lost))
    assert moved(claim) == (UNDECIDED, "runs of 256:1 that have learned would: there are none")
    assert claim.left_out == [Left(id, Fit.UNDER_FIT) for id in range(1, 6)]
    assert "5 of 25 runs left out: 5 under-fit" in claim.sentence


def test_a_weight_far_from_the_others_that_no_line_sees_leaves_it_undecided() -> None:
    zigzag = {"256:1": 0.5, "16:1": 0.455, "4:1": 0.545, "1:1": 0.5, "1:4": 0.545, "1:16": 0.455, "1:256": 0.5}
    would_decide = says("C2", a_study(a_group(zigzag, seeds=5, scatter=0.001))).would_decide
    assert would_decide
    assert would_decide.endswith("means of weights lie further apart than 0.08")


def test_what_would_decide_is_what_is_missing() -> None:
    runs = a_group(about(0.0), seeds=3, scatter=0.02)
    scattered = says("C2", a_study(runs, epochs=200)).would_decide
    assert scattered
    assert scattered.endswith("seeds would, if they scatter as these do")
    assert int(scattered.split()[0]) > 3
    assert says("C2", a_study(runs)).would_decide == "the end of its runs would: 15 of 15 have not come to epoch 1000"
    one = a_study([run for run in runs if run.seed == 0], epochs=200)
    assert says("C2", one).would_decide == "five seeds would, nearly always; three half of the time"
    two = a_study([run for run in runs if run.importance_weight in ("1:1", "16:1")], epochs=200)
    assert says("C2", two).would_decide == "three weights would, or more: a line through two says nothing"
    edge = says("C2", a_study(a_group(about(0.02), scatter=0.002), epochs=200)).would_decide
    assert edge
    assert "seeds would" in edge
    none = says("C2", a_study([a_run(in_domain=[1.0] * 200)], epochs=200))
    assert none.would_decide == "runs that have learned would: go on beyond 200 epochs, or look at why they do not"
    assert none.sentence == "No run can be judged yet; 1 of 1 runs left out: 1 not started."
    waiting = says("C2", a_study([a_run(in_domain=[])], epochs=200))
    assert waiting.would_decide == "the end of its runs would: 1 of 1 has not come to epoch 200"


def test_how_many_seeds_would_decide_by_hand() -> None:
    """s = 0.01: t(2) · s / √3 = 0.0248, t(3) · s / √4 = 0.0159, t(7) · s / √8 = 0.0084, t(6) · s / √7 = 0.0092."""

    def seeds(*found: float) -> str:
        estimate = estimate_over(found)
        assert estimate
        return seeds_that_would([estimate], -0.02, 0.02).split(",")[0]

    assert seeds(-0.01, 0.0, 0.01) == "4 seeds would"
    assert seeds(-0.021, -0.011, -0.001) == seeds(0.001, 0.011, 0.021) == "8 seeds would"
    assert seeds(0.01, 0.02, 0.03) == "even 30 seeds would not: it lies on the edge of what the claim allows"


def test_as_many_seeds_as_it_asks_for_do_decide() -> None:
    """Of seeds that scatter as those do."""
    asked = says("C2", a_study(a_group(about(0.0), seeds=3, scatter=0.02), epochs=200)).would_decide
    assert asked
    more = a_group(about(0.0), seeds=3 * int(asked.split()[0]), scatter=0.02)
    assert says("C2", a_study(more, epochs=200)).verdict is HOLDS


def test_c3_the_out_of_domain_fraction_tends_to_its_target() -> None:
    runs = {target: with_rows(a_group(dict.fromkeys(MNIST_WEIGHTS, target)), 1000) for target in (0.3, 0.5)}
    assert says("C3", a_study(runs[0.3])).verdict is HOLDS
    assert says("C3", a_study(runs[0.5])).verdict is FAILS
    assert says("C3", a_study(runs[0.5], dataset={"name": "mnist"})).verdict is HOLDS
    assert says("C3", a_study(with_rows(a_group(dict.fromkeys(MNIST_WEIGHTS, 0.34)), 1000))).verdict is HOLDS
    near = says("C3", a_study(a_group(dict.fromkeys(MNIST_WEIGHTS, 0.35), scatter=0.02), epochs=200))
    assert near.verdict is UNDECIDED
    assert near.low is not None
    assert near.high is not None
    assert near.low < 0.35 < near.high


def disagreeing(**excess: tuple[float, ...]) -> list[Disagreement]:
    return [
        Disagreement(weight.replace("_", ":"), estimate_over([each + 0.1 for each in own]), 0.1, estimate_over(own))  # type: ignore[arg-type]
        for weight, own in excess.items()
    ]


def test_c4_boundaries_agree_where_no_weight_changes_more_than_a_seed() -> None:
    runs = with_rows(a_group(EQUAL), 1000)
    alike = {"256_1": (0.001, 0.002, 0.003), "1_256": (0.04, 0.041, 0.039)}
    study = a_study(runs)._replace(disagreements={"in_domain": disagreeing(**alike)})
    claim = says("C4", study)
    assert (claim.verdict, claim.estimate) == (HOLDS, pytest.approx(0.04))
    assert "Of the in-domain images 1:256 predicts a share of 0.140 (" in claim.sentence
    other = study._replace(disagreements={"out_of_domain": disagreeing(**alike | {"16_1": (0.2, 0.21, 0.19)})})
    assert says("C4", other).verdict is FAILS
    wide = study._replace(disagreements={"in_domain": disagreeing(**alike | {"16_1": (0.0, 0.04, 0.08)})})
    assert says("C4", wide).verdict is UNDECIDED
    assert moved(says("C4", a_study(runs))) == (UNDECIDED, "fit runs of 1:1 with two seeds would, or more")


def test_c5_mnist_settles_sooner() -> None:
    groups = [a_study(settling_at(20), "mnist", dataset={"name": "mnist"}), a_study(settling_at(300), "cifar10")]
    claim = says("C5", *groups)
    assert (claim.verdict, claim.groups, claim.n) == (HOLDS, ["mnist", "cifar10"], 3)
    assert claim.estimate == pytest.approx(-280)
    later = [a_study(settling_at(300), dataset={"name": "mnist"}), a_study(settling_at(20))]
    assert says("C5", *later).verdict is FAILS
    restless = [a_study(settling_at(980), dataset={"name": "mnist"}), a_study(settling_at(300))]
    assert moved(says("C5", *restless)) == (UNDECIDED, "more epochs of MNIST would")
    assert says("C5", groups[0], a_study(settling_at(960))).verdict is HOLDS  # CIFAR-10 at its end at the earliest
    assert says("C5", groups[0], a_study([])).verdict is UNDECIDED


def test_c5_a_run_has_settled_where_it_has_on_both_test_sets() -> None:
    early, late = settling_at(20), settling_at(100)
    both = [run._replace(out_of_domain=other.out_of_domain) for run, other in zip(early, late, strict=True)]
    other_way = [run._replace(in_domain=other.in_domain) for run, other in zip(early, late, strict=True)]
    for runs in (both, other_way):
        claim = says("C5", a_study(runs, dataset={"name": "mnist"}), a_study(settling_at(300)))
        assert claim.estimate == pytest.approx(-200)
    unsettled = [
        run._replace(out_of_domain=other.out_of_domain) for run, other in zip(early, settling_at(980), strict=True)
    ]
    claim = says("C5", a_study(early, dataset={"name": "mnist"}), a_study(unsettled))
    assert claim.estimate == pytest.approx(24 - 1000)


def test_c5_compares_only_what_differs_in_nothing_else() -> None:
    groups = [a_study([], dataset={"name": "mnist"}), a_study([], model={"name": "cnn", "width": 32})]
    assert "C5" not in {claim.claim for claim in claims_of(groups)}


def test_c6_with_l2_it_does_not_converge_is_about_all_runs() -> None:
    """Figure 3: with the heaviest weights constants, which under weight decay are what the loss asks for."""
    fractions = {"256:1": 1.0, "16:1": 0.66, "1:16": 0.34, "1:256": 0.0}
    runs = with_rows(a_group(fractions, decays=True), 1000)
    for at, run in enumerate(runs):  # the lighter class is the other one where the base weighs more
        light = "accuracy_other" if at < 6 else "accuracy_base"
        runs[at] = run._replace(**{light: np.full(200, 0.9)})
    claim = says("C6", a_study(runs, optimizer={"weight_decay": 0.001}))
    assert (claim.verdict, claim.left_out) == (HOLDS, [])
    assert claim.sentence.endswith("The lighter class is 90.0 % right in training.")
    same = with_rows(a_group(about(0.0), decays=True, seeds=5), 1000)
    assert says("C6", a_study(same, optimizer={"weight_decay": 0.001})).verdict is FAILS


def test_c6_where_every_seed_ends_in_the_same_constants_too() -> None:
    runs = with_rows(a_group({"256:1": 1.0, "16:1": 1.0, "1:16": 0.0, "1:256": 0.0}, scatter=0, decays=True), 1000)
    claim = says("C6", a_study(runs, optimizer={"weight_decay": 0.1}))
    assert (claim.verdict, claim.low) == (HOLDS, None)


def test_c8_on_mnist_in_domain_there_is_no_effect_at_all() -> None:
    mnist = {"dataset": {"name": "mnist"}, "model": {"name": "resnet"}}
    flat = a_study(with_rows(a_group(EQUAL, scatter=0.0), 1000), **mnist)
    assert [claim.verdict for claim in claims_of([flat]) if claim.claim == "C8"] == [HOLDS, HOLDS]
    early = numbered(
        [
            a_run(weight, seed, np.where(np.arange(1000) < 5, {"256:1": 0.9}.get(weight, 0.46), 0.46), [0.5] * 1000)
            for weight in MNIST_WEIGHTS
            for seed in range(3)
        ]
    )
    faded, none = (claim for claim in claims_of([a_study(early, **mnist)]) if claim.claim == "C8")
    assert (faded.verdict, none.verdict) == (HOLDS, FAILS)
    assert none.estimate == pytest.approx(0.44)


def without_and_with(slope: float, other: float, seeds: int = 3) -> list[Studied]:
    return [
        a_study(with_rows(a_group(about(each), seeds), 1000), str(norm), model={"name": "resnet", "batch_norm": norm})
        for norm, each in ((False, slope), (True, other))
    ]


def test_c9_without_batch_norm_weights_matter_more_or_less() -> None:
    assert says("C9", *without_and_with(0.1, 0.03)).verdict is HOLDS
    less = says("C9", *without_and_with(0.005, 0.05))
    assert (less.verdict, less.groups) == (FAILS, ["False", "True"])
    assert less.estimate == pytest.approx(-0.045, abs=0.005)
    assert says("C9", *without_and_with(0.05, 0.05)).verdict is UNDECIDED
    groups = [without_and_with(slope, 0.05) for slope in (0.1, 0.005)]
    mixed = [
        more._replace(out_of_domain=less.out_of_domain)
        for more, less in zip(groups[0][0].runs, groups[1][0].runs, strict=True)
    ]
    assert says("C9", groups[0][0]._replace(runs=mixed), groups[0][1]).verdict is UNDECIDED  # each set says another
    assert says("C9", *without_and_with(0.1, 0.03, seeds=1)).verdict is UNDECIDED


def test_c9_of_figure_8_alone_has_both_slopes_and_no_verdict() -> None:
    claim = says("C9", a_study(published(8), model={"name": "resnet", "batch_norm": False}))
    assert moved(claim) == (UNDECIDED, "the same with batch norm beside it would")
    assert "in-domain 0.012 (one seed) over fit runs, 0.628 (one seed) over all" in claim.sentence
    assert claim.left_out == [Left(id, Fit.COLLAPSED) for id in (1, 4, 9)]


def test_runs_that_diverged_wait_or_never_started_are_counted_by_name() -> None:
    runs = [
        *a_group(about(0.0), seeds=5),
        a_run("1:1", 9, [0.5, np.nan], id=97, finite=False),
        a_run("1:1", 10, [], id=98),
        a_run("1:1", 11, [1.0] * 200, id=99),
    ]
    claim = says("C2", a_study(runs))
    assert claim.left_out == [Left(97, Fit.NOT_FINITE), Left(98, None), Left(99, Fit.NOT_STARTED)]
    assert "3 of 28 runs left out: 1 not started, 1 not finite, 1 without rows" in claim.sentence
    assert claim.verdict is HOLDS


def test_the_published_figures_alone_decide_nothing_but_say_their_numbers() -> None:
    """One seed each."""
    figures = {1: {"model": {"name": "cnn"}}, 6: {"model": {"name": "resnet"}}}
    for figure, spec in figures.items():
        for claim in claims_of([a_study(published(figure), **spec)]):
            assert claim.verdict is UNDECIDED
            assert claim.would_decide


def test_a_test_set_of_three_images_decides_nothing() -> None:
    runs = a_group(dict.fromkeys(MNIST_WEIGHTS, 1 / 3), scatter=0, n=(3, 3))
    claim = says("C2", a_study(runs, epochs=200))
    assert claim.verdict is UNDECIDED
    assert claim.would_decide
    assert claim.would_decide.startswith("a larger test set would")
