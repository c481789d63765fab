"""What the panels of a figure show: groups of one sweep or several, their bands, what was published of them; and which
of them are chosen.
"""

import pytest

from core.analysis.bands import bands_over_epochs
from core.analysis.document import published_fractions, read_off
from core.analysis.panels import Group, NoSuchRow, SweepToDraw, chosen, groups_of
from core.analysis.runs import IN_WORDS
from core.fit import Fit
from core.presets import FIGURES
from tests.unit.analysis.builders import a_run, a_spec, numbered

FADES = [0.9, 0.6, 0.5]


def a_sweep(title: str = "", preset: str | None = None, decays: tuple[float, ...] = (0.0, 0.01)) -> SweepToDraw:
    """Of each weight decay one weight, with a fit seed, an under-fit one, and one that is a little lower."""
    members = []
    for decay in decays:
        runs = [
            a_run("16:1", 0, FADES),
            a_run("16:1", 1, FADES, accuracy=0.5),
            a_run("16:1", 2, [fraction - 0.1 for fraction in FADES]),
        ]
        spec = {"importance_weight": "16:1", "optimizer": {"weight_decay": decay}}
        members += [(a_spec(**spec, seed=run.seed), run) for run in numbered(runs)]
    return SweepToDraw(title, preset, members)


def test_a_group_has_its_lines_and_no_bands_unless_they_are_asked_for() -> None:
    groups = groups_of([a_sweep()])
    assert [group.title for group in groups] == ["weight_decay 0", "weight_decay 0.01"]
    first = groups[0].lines[0]
    assert (first.importance_weight, first.seed, first.epoch, first.in_domain) == ("16:1", 0, [1, 2, 3], FADES)
    assert [line.fit for line in groups[0].lines] == [Fit.FIT, Fit.UNDER_FIT, Fit.FIT]
    assert [group.bands for group in groups] == [None, None]
    assert not any(groups[0].is_apart(line) for line in groups[0].lines)


def test_bands_are_of_the_fit_runs_alone() -> None:
    sweep = a_sweep(decays=(0.0,))
    (group,) = groups_of([sweep], bands=True)
    runs = [run for _, run in sweep.members]
    assert group.bands == {which: bands_over_epochs([runs[0], runs[2]], which) for which in IN_WORDS}
    assert group.bands["in_domain"]["16:1"].n == 2
    assert [group.is_apart(line) for line in group.lines] == [False, True, False]


def test_a_test_set_without_images_is_a_line_without_values() -> None:
    run = a_run("16:1", 0, FADES, n=(100, 0))
    (group,) = groups_of([SweepToDraw("", None, [(a_spec(), run)])], bands=True)
    assert (group.lines[0].in_domain, group.lines[0].out_of_domain) == (FADES, [None] * 3)
    assert group.bands
    assert (list(group.bands["in_domain"]), list(group.bands["out_of_domain"])) == (["16:1"], [])


def test_groups_of_several_sweeps_are_told_apart_by_the_sweep_and_by_what_differs_between_all() -> None:
    same = groups_of([a_sweep("sweep 1, mine", decays=(0.0,)), a_sweep("sweep 2, mine", decays=(0.0,))])
    assert [group.title for group in same] == ["sweep 1, mine", "sweep 2, mine"]
    assert [len(group.lines) for group in same] == [3, 3]
    groups = groups_of([a_sweep("sweep 1", decays=(0.0,)), a_sweep("sweep 2", decays=(0.0, 0.01))])
    assert [group.title for group in groups] == [
        "sweep 1: weight_decay 0",
        "sweep 2: weight_decay 0",
        "sweep 2: weight_decay 0.01",
    ]


def test_no_sweeps_and_no_members_are_no_groups() -> None:
    assert groups_of([]) == groups_of([SweepToDraw("", None, [])], bands=True) == []


def test_what_was_published_stands_beside_the_weights_that_the_group_has() -> None:
    plain, decayed = groups_of([a_sweep(preset="figure-1")])
    of_figure_1 = read_off()["figure-1"]
    assert plain.published == {which: {"16:1": of_figure_1[which]["16:1"]} for which in IN_WORDS}
    assert decayed.published == {which: {} for which in IN_WORDS}  # with L2 it is figure 3
    assert not any(any(group.published.values()) for group in groups_of([a_sweep()]))


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_of_the_paper_has_its_own_fractions_alone_and_among_all(name: str) -> None:
    spec = a_spec(**FIGURES[name].base)
    assert published_fractions(name, spec) == published_fractions("paper", spec) == read_off()[name]
    assert not any(published_fractions("losses", spec).values())


@pytest.mark.parametrize(
    ("fields", "belongs"),
    [
        ({"epochs": 3, "seed": 4, "eval_every": 3, "precision": "bf16", "diagnostics": True}, True),
        ({"model": {"name": "cnn", "width": 8}, "optimizer": {"lr": 0.01}}, True),
        ({"dataset": {"name": "cifar10", "train_per_class": 100, "eval_limit": 50}}, True),
        ({"model": {"name": "cnn", "dropout": 0.5}}, False),
        ({"optimizer": {"weight_decay": 0.01}}, False),
        ({"dataset": {"name": "cifar10", "base_class": "cat", "other_class": "dog"}}, False),
        ({"dataset": {"name": "cifar10", "label_noise": 0.1}}, False),
        ({"loss": {"name": "focal"}}, False),
        ({"resample": "drop"}, False),
    ],
)
def test_a_figure_is_the_papers_if_it_is_so_in_what_the_paper_varies(fields: dict[str, object], belongs: bool) -> None:
    assert any(published_fractions("figure-1", a_spec(**fields)).values()) == belongs


def test_any_weight_decay_is_that_of_the_figure_with_one() -> None:
    assert any(published_fractions("figure-3", a_spec(optimizer={"weight_decay": 0.01})).values())
    assert not any(published_fractions("figure-3", a_spec()).values())


TITLES = ["weight_decay 0", "weight_decay 0.01", "Dropout 0.5"]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ("1", [0]),
        ("3,1", [0, 2]),  # in their order
        (" 2 , 2", [1]),
        ("0.01", [1]),
        ("weight", [0, 1]),
        ("WEIGHT_DECAY 0.01", [1]),
        ("dropout", [2]),
        ("0", None),
        ("4", None),
        ("1,4", None),
        ("1,", None),
        ("batch", None),
        ("\u0661", None),  # a digit, but none of ours
    ],
)
def test_rows_are_chosen_by_number_or_by_a_part_of_their_titles(rows: str, found: list[int] | None) -> None:
    groups = [Group(title, []) for title in TITLES]
    if found is not None:
        assert chosen(groups, rows) == [groups[at] for at in found]
        return
    with pytest.raises(NoSuchRow) as refused:
        chosen(groups, rows)
    assert refused.value.there == "1 (weight_decay 0), 2 (weight_decay 0.01), 3 (Dropout 0.5)"


def test_what_is_no_row_is_named_and_of_many_rows_the_first() -> None:
    with pytest.raises(NoSuchRow) as refused:
        chosen([Group("", [])], "1,7")
    assert (refused.value.wanted, refused.value.there) == ("7", "1")
    with pytest.raises(NoSuchRow) as refused:
        chosen([Group(f"t{at}", []) for at in range(100)], "x")
    assert refused.value.there.endswith("24 (t23), … 100")
    with pytest.raises(NoSuchRow) as refused:
        chosen([], "1")
    assert refused.value.there == "none"
