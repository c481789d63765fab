"""What comes first of a sweep: every weight of the first seed, then of the second. Positions say nothing of it."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from core.states import Ask, State
from core.store import experiments, sweeps
from core.store.outlook import outlook
from core.store.session import Store
from core.store.tables import experiments as table
from core.sweeps import SweepRequest, grids_and_specs
from tests.unit.store.builders import claimed, released, spec, submitted
from tests.unit.store.test_sweeps import asked, grown, made, members, seen

WEIGHTS = ["16:1", "1:1", "1:16"]


def queue(store: Store, *paths: str) -> list[Any]:
    """What is queued, in the order in which it is claimed: of each its seed, and what lies at `paths` of its spec."""
    with store.reading() as tx:
        ids = tx.execute(select(table.c.id).where(table.c.state == State.QUEUED).order_by(table.c.rank, table.c.id))
        specs = [experiments.get(tx, each).spec for each in ids.scalars()]
    return [(spec["seed"], *(spec[path] for path in paths)) for spec in specs]


def places(store: Store, sweep_id: int) -> list[tuple[Any, ...]]:
    return [(each.position, each.importance_weight, each.spec["seed"]) for each in members(store, sweep_id)]


SEED_BY_SEED = [(seed, weight) for seed in (2, 0) for weight in WEIGHTS]


@pytest.mark.parametrize("slowest", ["importance_weight", "seed"])
def test_every_weight_of_the_first_seed_is_claimed_before_the_second_seed(store: Store, slowest: str) -> None:
    axes: dict[str, list[Any]] = {"importance_weight": WEIGHTS, "seed": [2, 0]}
    axes = {slowest: axes.pop(slowest), **axes}
    sweep_id = made(store, **axes)
    in_order = [(weight, seed) for weight in WEIGHTS for seed in (2, 0)]
    if slowest == "seed":
        in_order = [(weight, seed) for seed, weight in SEED_BY_SEED]
    assert places(store, sweep_id) == [(n, *each) for n, each in enumerate(in_order)]
    claims = [claimed(store).spec for _ in in_order]
    assert [(each.seed, each.importance_weight) for each in claims] == SEED_BY_SEED


def test_within_a_seed_other_axes_keep_their_order(store: Store) -> None:
    made(store, epochs=[3, 4], seed=[1, 0], importance_weight=WEIGHTS)
    nested = [(seed, epochs, weight) for seed in (1, 0) for epochs in (3, 4) for weight in WEIGHTS]
    assert queue(store, "epochs", "importance_weight") == nested


def test_without_an_axis_of_seeds_the_order_is_that_of_positions(store: Store) -> None:
    made(store, epochs=[3, 4], importance_weight=WEIGHTS)
    assert queue(store, "epochs", "importance_weight") == [(0, n, weight) for n in (3, 4) for weight in WEIGHTS]


def test_figures_of_a_preset_take_turns_seed_by_seed(store: Store) -> None:
    request = SweepRequest(preset="paper", axes={"seed": [1, 0], "importance_weight": ["16:1", "1:1"]})
    grids, specs = grids_and_specs(request)
    assert len(grids) > 1
    with store.writing() as tx:
        sweeps.submit(tx, grids, specs)
    in_order = [(each.seed, each.importance_weight) for each in specs]
    assert queue(store, "importance_weight") == [each for seed in (1, 0) for each in in_order if each[0] == seed]


def test_what_a_sweep_grows_by_comes_after_it_and_seed_by_seed_too(store: Store) -> None:
    sweep_id = made(store, importance_weight=WEIGHTS, seed=[2, 0])
    submitted(store, seed=99)
    grown(store, sweep_id, seed=[7, 5], importance_weight=["4:1"])
    new = [(2, "4:1"), (0, "4:1"), *((seed, weight) for seed in (7, 5) for weight in (*WEIGHTS, "4:1"))]
    assert queue(store, "importance_weight") == [*SEED_BY_SEED, (99, "16:1"), *new]
    positions = [place[0] for place in places(store, sweep_id)]
    assert positions == list(range(16))


def test_what_was_deleted_is_made_again_in_the_order_of_the_axis(store: Store) -> None:
    sweep_id = made(store, importance_weight=WEIGHTS, seed=[2, 0])
    *_, last = members(store, sweep_id)
    with store.writing() as tx:
        tx.execute(table.delete().where(table.c.id == last.id))
    grown(store, sweep_id, seed=[5])
    again = [(0, "1:16"), *((5, weight) for weight in WEIGHTS)]
    assert queue(store, "importance_weight") == [*SEED_BY_SEED[:-1], *again]


def test_another_priority_a_pause_and_a_retry_keep_the_order_within_the_sweep(store: Store) -> None:
    sweep_id = made(store, importance_weight=WEIGHTS, seed=[2, 0])
    with store.writing() as tx:
        sweeps.set_priority(tx, sweep_id, 5)
    assert queue(store, "importance_weight") == SEED_BY_SEED
    asked(store, sweep_id, Ask.PAUSE)
    asked(store, sweep_id, Ask.RESUME)
    assert queue(store, "importance_weight") == SEED_BY_SEED
    asked(store, sweep_id, Ask.CANCEL)
    asked(store, sweep_id, Ask.RETRY)
    assert queue(store, "importance_weight") == SEED_BY_SEED
    released(store, claimed(store))
    assert queue(store, "importance_weight") == SEED_BY_SEED


def test_a_sweep_of_more_members_than_a_statement_takes_is_retried_in_its_order(store: Store) -> None:
    sweep_id = made(store, importance_weight=WEIGHTS, seed=list(range(700)))
    before = queue(store)
    asked(store, sweep_id, Ask.CANCEL)
    asked(store, sweep_id, Ask.RETRY)
    assert queue(store) == before == [(seed,) for seed in range(700) for _ in WEIGHTS]


def test_sweeps_and_single_ones_keep_the_order_in_which_they_came(store: Store) -> None:
    made(store, importance_weight=WEIGHTS, seed=[2, 0])
    submitted(store, seed=99)
    made(store, importance_weight=["1:1"], seed=[0, 1], epochs=[5])
    later = [(0, "1:1"), (1, "1:1")]
    assert queue(store, "importance_weight") == [*SEED_BY_SEED, (99, "16:1"), *later]


def test_why_one_waits_counts_those_that_are_claimed_before_it(store: Store) -> None:
    sweep_id = made(store, importance_weight=WEIGHTS, seed=[2, 0])
    held = claimed(store)
    with store.reading() as tx:
        found = experiments.members(tx, sweep_id, 9)
        because = [each.waiting_because for each in outlook(tx, found)]
    assert held.experiment_id == found[0].id
    assert because[2] == "it is the next in the queue"  # the next weight of the first seed
    assert because[1] == "2 before it in the queue"
    assert because[5] == "4 before it in the queue"
    assert seen(store, sweep_id).waiting_because is None


AXES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True),
        "importance_weight": st.lists(st.sampled_from(WEIGHTS), min_size=1, unique=True),
        "epochs": st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
    },
).flatmap(lambda axes: st.permutations(list(axes)).map(lambda paths: {path: axes[path] for path in paths}))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(axes=AXES, priority=st.integers(-100, 100))
def test_the_queue_is_each_member_once_by_seed_and_then_by_position(
    store: Store, axes: dict[str, list[Any]], priority: int
) -> None:
    sweep_id = made(store, **axes)
    with store.writing() as tx:
        sweeps.set_priority(tx, sweep_id, priority)
        of_sweep = select(table.c.position).where(table.c.sweep_id == sweep_id)
        queued = list(tx.execute(of_sweep.order_by(table.c.rank, table.c.id)).scalars())
    seeds = axes.get("seed", [spec().seed])
    found = members(store, sweep_id)
    assert [each.position for each in found] == list(range(len(found)))
    assert queued == sorted(range(len(found)), key=lambda n: (seeds.index(found[n].spec["seed"]), n))
