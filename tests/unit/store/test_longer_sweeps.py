"""A sweep that was not long enough goes on as another, with those of its members that can."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event as sql_event
from sqlalchemy import func, insert, select, update

from core.grids import members_of
from core.spec import Spec
from core.states import Ask, ErrorKind, State
from core.store import attempts, checkpoints, curves, events, extensions, predictions, sweeps
from core.store.errors import NotFound, NothingExtended, NotLonger
from core.store.experiments import Experiment, ExperimentError
from core.store.extensions import LeftOut
from core.store.session import Store
from core.store.tables import checkpoints as checkpoints_table
from core.store.tables import curve_rows
from core.store.tables import experiments as table
from core.store.tables import predictions as predictions_table
from tests.unit.store.builders import claimed
from tests.unit.store.test_extensions import with_success
from tests.unit.store.test_seed_by_seed import WEIGHTS, queue
from tests.unit.store.test_sweeps import asked, grown, made, members, seen

ONLY = "only one that has succeeded can be extended"


def trained(store: Store, n: int) -> None:
    """The first `n` of the queue succeed."""
    for _ in range(n):
        with_success(store, claimed(store))


def failed(store: Store) -> int:
    claim = claimed(store)
    with store.writing() as tx:
        attempts.finish(tx, claim, None, State.FAILED, ExperimentError(ErrorKind.BAD_DATA, "x"))
    return claim.experiment_id


def extended(store: Store, sweep_id: int, epochs: int, priority: int = 0) -> tuple[int, list[LeftOut]]:
    with store.writing() as tx:
        return extensions.extend_sweep(tx, sweep_id, epochs, priority)


def what(member: Experiment) -> tuple[Any, ...]:
    return member.position, member.importance_weight, member.spec["seed"]


def test_the_longer_sweep_goes_on_from_each_member_in_the_order_of_positions(store: Store) -> None:
    sweep_id = made(store, importance_weight=WEIGHTS, seed=[2, 0])
    trained(store, 6)
    longer_id, left_out = extended(store, sweep_id, 5, priority=4)
    assert left_out == []
    parents, children = members(store, sweep_id), members(store, longer_id)
    assert [what(each) for each in children] == [what(each) for each in parents]
    assert [each.name for each in children] == [each.name for each in parents]
    assert [each.extends for each in children] == [each.id for each in parents]
    assert {(each.epochs_done, each.epochs_total, each.priority, each.state) for each in children} == {
        (3, 5, 4, State.QUEUED)
    }
    with store.reading() as tx:
        for parent, child in zip(parents, children, strict=True):
            assert curves.read(tx, child.id)[1] == curves.read(tx, parent.id)[1]
            (pointer,) = checkpoints.farthest_first(tx, child.id)
            assert pointer.path == checkpoints.farthest_first(tx, parent.id)[0].path
            assert predictions.read(tx, child.id).epochs == [1, 2, 3]
            kinds = [(event.kind, event.detail) for event in events.read(tx, child.id)]
            assert kinds == [("submitted", None), ("extends", f"experiment {parent.id}, after epoch 3")]


def test_it_has_the_same_grids_but_for_epochs_and_says_what_it_extends(store: Store) -> None:
    sweep_id = made(store, importance_weight=WEIGHTS, seed=[2, 0])
    trained(store, 6)
    longer_id, _ = extended(store, sweep_id, 5)
    short, longer = seen(store, sweep_id), seen(store, longer_id)
    (grid,) = short.grids
    assert longer.grids == [grid._replace(base={**grid.base, "epochs": 5})]
    assert (longer.name, longer.preset, longer.extends) == (short.name, short.preset, sweep_id)
    assert (short.extends, short.counts[State.SUCCEEDED]) == (None, 6)
    of_grids = [Spec.model_validate(member.value).digest for member in members_of(longer.grids)]
    assert [each.digest for each in members(store, longer_id)] == of_grids


def test_it_ends_as_any_sweep_and_can_be_extended_again(store: Store) -> None:
    sweep_id = made(store, seed=[2, 0])
    trained(store, 2)
    longer_id, _ = extended(store, sweep_id, 5)
    with store.writing() as tx:
        tx.execute(update(table).values(checkpoint_device_kind="cpu"))
    trained(store, 2)
    assert seen(store, longer_id).counts[State.SUCCEEDED] == 2
    longest_id, left_out = extended(store, longer_id, 9)
    assert (seen(store, longest_id).extends, left_out) == (longer_id, [])
    assert [each.epochs_done for each in members(store, longest_id)] == [5, 5]


def test_those_that_cannot_go_on_are_named_with_their_state_and_why(store: Store) -> None:
    sweep_id = made(store, importance_weight=WEIGHTS, seed=[2, 0])
    trained(store, 1)
    wrong = failed(store)
    without = with_success(store, claimed(store), with_checkpoint=False).experiment_id
    running = claimed(store).experiment_id
    by_id = {each.id: each for each in members(store, sweep_id)}
    longer_id, left_out = extended(store, sweep_id, 5)
    (child,) = members(store, longer_id)
    assert what(child) == what(by_id[child.extends or 0])
    waiting = [each.id for each in by_id.values() if each.state is State.QUEUED]
    assert set(left_out) == {
        LeftOut(wrong, State.FAILED, ONLY),
        LeftOut(without, State.SUCCEEDED, "its last checkpoint was not kept: submit the longer spec"),
        LeftOut(running, State.RUNNING, ONLY),
        *(LeftOut(each, State.QUEUED, ONLY) for each in waiting),
    }
    assert [by_id[each.id].position for each in left_out] == sorted(by_id[each.id].position or 0 for each in left_out)


def test_the_positions_of_those_that_go_on_have_no_gaps_and_the_first_seed_is_still_the_first(store: Store) -> None:
    sweep_id = made(store, importance_weight=WEIGHTS, seed=[2, 0])
    failed(store)  # 16:1 of seed 2, position 0
    trained(store, 5)
    longer_id, _ = extended(store, sweep_id, 5)
    assert [what(each) for each in members(store, longer_id)] == [
        (0, "16:1", 0),
        (1, "1:1", 2),
        (2, "1:1", 0),
        (3, "1:16", 2),
        (4, "1:16", 0),
    ]
    assert queue(store, "importance_weight") == [
        *((2, weight) for weight in WEIGHTS[1:]),
        *((0, weight) for weight in WEIGHTS),
    ]


def test_one_whose_last_row_is_none_of_a_longer_curve_is_left_out(store: Store) -> None:
    sweep_id = made(store, eval_every=[1, 2])
    trained(store, 2)
    longer_id, (left_out,) = extended(store, sweep_id, 6)
    (child,) = members(store, longer_id)
    assert child.spec["eval_every"] == 1
    assert left_out.state is State.SUCCEEDED
    assert "its last row is of epoch 3, and with eval_every 2" in left_out.reason


def test_of_each_spacing_of_rows_those_predictions_are_kept_that_a_longer_run_keeps(store: Store) -> None:
    sweep_id = made(store, epochs=[60])
    with store.writing() as tx:  # epochs are no axis, and eval_every is one
        grids = [grid._replace(base={**grid.base, "epochs": 60}, axes={}) for grid in sweeps.get(tx, sweep_id).grids]
        spec = Spec.model_validate(grids[0].base)
        specs = [spec.model_copy(update={"eval_every": each}) for each in (1, 2, 1)]
        specs[2] = specs[2].model_copy(update={"seed": 8})
        both = sweeps.submit(tx, grids, specs)
    trained(store, 4)
    longer_id, left_out = extended(store, both, 1000)
    assert left_out == []
    with store.reading() as tx:
        kept = [predictions.read(tx, each.id).epochs for each in members(store, longer_id)]
    assert kept == [[1, 2, 4, 8, 16, 32], [2, 4, 8, 16, 32], [1, 2, 4, 8, 16, 32]]


def test_it_grows_from_the_start_by_what_it_has_not_only(store: Store) -> None:
    sweep_id = made(store, importance_weight=WEIGHTS, seed=[2, 0])
    failed(store)
    trained(store, 5)
    longer_id, _ = extended(store, sweep_id, 5)
    assert grown(store, longer_id, seed=[7]) == 4  # three of the new seed, and what was left out
    found = members(store, longer_id)
    assert {each.spec["epochs"] for each in found} == {5}
    assert [what(each) for each in found[5:]] == [
        (5, "16:1", 2),
        (6, "16:1", 7),
        (7, "1:1", 7),
        (8, "1:16", 7),
    ]
    assert {(each.extends, each.epochs_done) for each in found[5:]} == {(None, 0)}
    assert grown(store, longer_id, seed=[2, 0, 7]) == 0


def test_it_must_be_longer_than_those_that_have_succeeded(store: Store) -> None:
    sweep_id = made(store, seed=[2, 0])
    trained(store, 1)
    with pytest.raises(NotLonger, match="sweep 1 has 3 epochs already: ask for more") as refused:
        extended(store, sweep_id, 3)
    assert (refused.value.epochs, refused.value.wanted) == (3, 3)


def test_of_members_of_several_lengths_those_that_would_not_be_longer_are_left_out(store: Store) -> None:
    grids = [grid._replace(axes={}) for grid in seen(store, made(store)).grids]
    specs = [Spec.model_validate({**grids[0].base, "epochs": epochs, "seed": epochs}) for epochs in (3, 5)]
    with store.writing() as tx:
        sweep_id = sweeps.submit(tx, grids, specs)
    trained(store, 3)
    with pytest.raises(NotLonger, match="has 3 epochs already"):
        extended(store, sweep_id, 2)
    longer_id, (left_out,) = extended(store, sweep_id, 5)
    assert left_out.reason == "it has 5 epochs already"
    assert [each.spec["seed"] for each in members(store, longer_id)] == [3]


def test_where_nothing_can_go_on_it_says_why_and_makes_nothing(store: Store) -> None:
    sweep_id = made(store, seed=[2, 0, 1])
    failed(store)
    with pytest.raises(NothingExtended) as refused:
        extended(store, sweep_id, 5)
    ends = f"1 failed ({ONLY}); 2 queued ({ONLY})"
    assert str(refused.value) == f"no experiment of sweep {sweep_id} can be extended: {ends}"
    with store.reading() as tx:
        assert len(sweeps.list_newest(tx, 9)) == 1
    with pytest.raises(NotFound):
        extended(store, 99, 5)
    with store.writing() as tx:
        tx.execute(table.delete())
    with pytest.raises(NothingExtended, match=f"sweep {sweep_id} has no experiments"):
        extended(store, sweep_id, 5)


def test_epochs_that_are_an_axis_are_refused_since_all_would_become_alike(store: Store) -> None:
    sweep_id = made(store, epochs=[3, 4])
    trained(store, 2)
    with pytest.raises(NothingExtended, match="epochs are an axis of sweep 1: extend its experiments one by one"):
        extended(store, sweep_id, 5)


def test_deleting_the_shorter_sweep_takes_nothing_from_the_longer(store: Store) -> None:
    sweep_id = made(store, seed=[2, 0])
    trained(store, 2)
    longer_id, _ = extended(store, sweep_id, 5)
    with store.writing() as tx:
        sweeps.remove_some(tx, sweep_id)
    assert seen(store, longer_id).extends == sweep_id  # a number is never given again
    with store.reading() as tx:
        assert [len(curves.read(tx, each.id)[1]) for each in members(store, longer_id)] == [3, 3]


def test_all_of_it_or_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep_id = made(store, seed=[2, 0])
    trained(store, 2)

    def break_off(*_: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(extensions, "_point_to", break_off)
    with pytest.raises(RuntimeError):
        extended(store, sweep_id, 5)
    with store.reading() as tx:
        assert len(sweeps.list_newest(tx, 9)) == 1
        assert tx.execute(select(func.count()).select_from(table)).scalar_one() == 2
        assert tx.execute(select(func.count()).select_from(curve_rows)).scalar_one() == 6


def test_a_member_goes_on_alone_as_it_does_with_its_sweep(store: Store) -> None:
    sweep_id = made(store, seed=[2, 0])
    trained(store, 2)
    first = members(store, sweep_id)[0]
    with store.writing() as tx:
        alone = extensions.extend(tx, first.id, 5)
    longer_id, _ = extended(store, sweep_id, 5)
    child = members(store, longer_id)[0]
    of_both = {"id": 0, "sweep_id": None, "position": None, "rank": 0, "read_ms": 0}
    times = dict.fromkeys(("created_ms", "queued_ms", "requeued_ms"), 0)
    assert replace(child, **of_both, **times) == replace(alone, **of_both, **times)


ENDS = st.lists(st.sampled_from(["succeeded", "failed", "unkept", "queued", "cancelled"]), min_size=6, max_size=6)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ends=ENDS)
def test_every_member_goes_on_or_is_named(store: Store, ends: list[str]) -> None:
    sweep_id = made(store, importance_weight=WEIGHTS, seed=[2, 0])
    with store.writing() as tx:  # before all else that waits
        sweeps.set_priority(tx, sweep_id, 100)
    in_queue = sorted(members(store, sweep_id), key=lambda member: member.id)
    for member, end in zip(in_queue, ends, strict=True):
        if end in ("queued", "cancelled"):
            with store.writing() as tx:
                tx.execute(update(table).where(table.c.id == member.id).values(rank=2**62))
        elif end == "failed":
            assert failed(store) == member.id
        else:
            claim = with_success(store, claimed(store), with_checkpoint=end == "succeeded")
            assert claim.experiment_id == member.id
    if ends.count("succeeded") == 0:
        with pytest.raises(NothingExtended):
            extended(store, sweep_id, 5)
    else:
        longer_id, left_out = extended(store, sweep_id, 5)
        children = members(store, longer_id)
        parents = [each for each in members(store, sweep_id) if each.id in {child.extends for child in children}]
        assert [each.extends for each in children] == [each.id for each in parents]
        assert [each.position for each in children] == list(range(ends.count("succeeded")))
        named = {each.id for each in left_out}
        assert named.isdisjoint(each.id for each in parents)
        assert named | {each.id for each in parents} == {each.id for each in in_queue}
        asked(store, longer_id, Ask.CANCEL)
    asked(store, sweep_id, Ask.CANCEL)


@pytest.mark.slow
def test_ten_thousand_members_go_on_at_once(store: Store) -> None:
    """By statements of a thousand members, each with its rows."""
    sweep_id = made(store, seed=list(range(10_000)))
    first = claimed(store)
    with_success(store, first)
    one = experiments_like(first.experiment_id, store)
    assert one == 10_000
    statements: list[str] = []
    sql_event.listen(store._engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    longer_id, left_out = extended(store, sweep_id, 5)
    assert len(statements) < 60
    assert left_out == []
    children = members(store, longer_id)
    assert [each.spec["seed"] for each in children] == list(range(10_000))
    assert {each.epochs_done for each in children} == {3}
    with store.reading() as tx:
        assert tx.execute(select(func.count()).select_from(curve_rows)).scalar_one() == 2 * 3 * 10_000


def experiments_like(experiment_id: int, store: Store) -> int:
    """All others have its end too: how many have."""
    others = select(table.c.id).where(table.c.id != experiment_id)
    with store.writing() as tx:
        end = ("state", "epochs_done", "checkpoint_row", "checkpoint_step", "checkpoint_device_kind")
        of_one = tx.execute(select(*(table.c[name] for name in end)).where(table.c.id == experiment_id)).one()
        tx.execute(update(table).values(dict(zip(end, of_one, strict=True))))
        for copied in (curve_rows, predictions_table, checkpoints_table):
            columns = [table.c.id if each.key == "experiment_id" else each for each in copied.c if each.key != "id"]
            names = [each.key for each in copied.c if each.key != "id"]
            rows = select(*columns).join_from(table, copied, copied.c.experiment_id == experiment_id)
            tx.execute(insert(copied).from_select(names, rows.where(table.c.id.in_(others))))
        return int(tx.execute(select(func.count()).where(table.c.state == State.SUCCEEDED)).scalar_one())
