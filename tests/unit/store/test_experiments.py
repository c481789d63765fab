"""Submitting, reading, listing, cancelling."""

from itertools import chain

import pytest
from sqlalchemy import text

from core.spec import Spec
from core.states import Ask, ErrorKind, State, Wish, clause
from core.store import attempts, claims, events, experiments, leases, wishes
from core.store.errors import NotAllowed, NotFound
from core.store.experiments import ExperimentError
from core.store.session import Store
from core.store.tables import LARGEST
from tests.unit.store.builders import a_worker, cancelled, claimed, event_kinds, result, seen_now, spec, submitted


def test_a_submitted_experiment_is_queued_with_every_field_of_its_spec(store: Store) -> None:
    wanted = spec(name="mnist 16:1", seed=3)
    with store.writing() as tx:
        experiment = experiments.submit(tx, wanted, priority=2)
    assert experiment == seen_now(store, experiment.id)
    assert (experiment.id, experiment.state, experiment.revision) == (1, State.QUEUED, 1)
    assert Spec.model_validate(experiment.spec) == wanted
    assert (experiment.digest, experiment.pack_key) == (wanted.digest, wanted.pack_key)
    assert (experiment.name, experiment.dataset, experiment.model) == ("mnist 16:1", "mnist", "cnn")
    assert (experiment.epochs_done, experiment.epochs_total, experiment.attempt) == (0, 3, 0)
    assert experiment.rank == experiment.queued_ms - 2 * 3_600_000
    assert experiment.created_ms == experiment.queued_ms > 1_700_000_000_000
    assert (experiment.worker, experiment.requested, experiment.error) == (None, None, None)


def test_a_spec_that_is_seldom_meant_is_warned_of_in_an_event(store: Store) -> None:
    heavy = {"loss": {"name": "cross_entropy", "normalization": "batch_size"}}
    assert event_kinds(store, submitted(store)) == ["submitted"]
    assert event_kinds(store, submitted(store, **heavy)) == ["submitted", "warning"]


@pytest.mark.parametrize("no_such_id", [0, -1, 7, LARGEST, LARGEST + 1, 10**40, -(10**40)])
def test_what_is_no_experiments_id_is_not_found(store: Store, no_such_id: int) -> None:
    with store.reading() as tx, pytest.raises(NotFound, match=f"no experiment {no_such_id}"):
        experiments.get(tx, no_such_id)
    with store.writing() as tx, pytest.raises(NotFound):
        wishes.ask(tx, no_such_id, Ask.CANCEL)
    with store.reading() as tx:
        assert events.read(tx, no_such_id) == []


def test_the_id_of_a_rolled_back_or_removed_experiment_is_not_used_again(store: Store) -> None:
    first = submitted(store)
    with store.writing() as tx:
        tx.exec_driver_sql("DELETE FROM events")
        tx.exec_driver_sql("DELETE FROM experiments")
    assert submitted(store) > first


def test_pages_of_the_list_are_newest_first_without_gap_or_repeat(store: Store) -> None:
    ids = [submitted(store) for _ in range(7)]
    pages, before = [], None
    with store.reading() as tx:
        while page := experiments.list_newest(tx, limit=3, before=before):
            pages.append([experiment.id for experiment in page])
            before = page[-1].id
        everything = experiments.list_newest(tx, limit=500, before=10**30)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert list(chain(*pages)) == [experiment.id for experiment in everything] == ids[::-1]


def test_the_list_is_narrowed_by_state_dataset_model_and_weight(store: Store) -> None:
    plain = submitted(store)
    linear = submitted(store, model={"name": "linear"})
    digits = submitted(store, dataset={"name": "digits"}, importance_weight="1:16")
    cancelled(store, digits)

    def listed(**wanted: str) -> list[int]:
        with store.reading() as tx:
            return [found.id for found in experiments.list_newest(tx, limit=10, **wanted)]  # type: ignore[arg-type]

    assert listed(state=State.QUEUED) == [linear, plain]
    assert listed(model="linear") == [linear]
    assert listed(dataset="digits", state=State.CANCELLED) == [digits]
    assert listed(importance_weight="1:16", model="linear") == []


def test_a_queued_experiment_is_cancelled_at_once(store: Store) -> None:
    experiment_id = submitted(store)
    experiment = cancelled(store, experiment_id)
    assert (experiment.state, experiment.revision) == (State.CANCELLED, 2)
    assert experiment.ended_ms is not None
    assert event_kinds(store, experiment_id) == ["submitted", "cancelled"]


def test_a_cancelled_experiment_is_never_claimed(store: Store) -> None:
    cancelled(store, submitted(store))
    worker_id = a_worker(store)
    with store.writing() as tx:
        assert claims.claim(tx, worker_id, 1000) is None


def test_cancelling_a_paused_experiment_ends_it(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store)
    with store.writing() as tx:
        tx.execute(text("UPDATE experiments SET requested = 'pause'"))
        leases.release(tx, claim)
    assert seen_now(store, experiment_id).state is State.PAUSED
    assert cancelled(store, experiment_id).state is State.CANCELLED


def test_cancelling_a_running_experiment_asks_its_worker_and_the_same_wish_again_changes_nothing(store: Store) -> None:
    experiment_id = submitted(store)
    claimed(store)
    first = cancelled(store, experiment_id)
    assert (first.state, first.requested) == (State.RUNNING, Wish.CANCEL)
    assert cancelled(store, experiment_id) == first
    assert event_kinds(store, experiment_id) == ["submitted", "claimed", "requested"]


def test_cancelling_again_what_is_cancelled_changes_nothing(store: Store) -> None:
    experiment_id = submitted(store)
    first = cancelled(store, experiment_id)
    assert cancelled(store, experiment_id) == first
    assert event_kinds(store, experiment_id) == ["submitted", "cancelled"]


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED])
def test_an_ended_experiment_cannot_be_cancelled_and_the_refusal_names_its_state(store: Store, state: State) -> None:
    experiment_id = submitted(store)
    error = ExperimentError(ErrorKind.BAD_DATA, "no images") if state is State.FAILED else None
    claim = claimed(store)
    with store.writing() as tx:
        attempts.finish(tx, claim, result(3), state, error)
    with store.writing() as tx, pytest.raises(NotAllowed, match=f"experiment {experiment_id} {clause(state)}"):
        wishes.ask(tx, experiment_id, Ask.CANCEL)


def test_a_running_experiment_shows_who_holds_it_and_an_ended_one_nobody(store: Store) -> None:
    experiment_id = submitted(store)
    claim = claimed(store, worker_id=a_worker(store, "gpu7", 4242))
    assert seen_now(store, experiment_id).worker == "gpu7:4242"
    with store.writing() as tx:
        attempts.finish(tx, claim, result(3), State.SUCCEEDED, None)
    assert seen_now(store, experiment_id).worker is None
    with store.reading() as tx:
        assert [event.worker for event in events.read(tx, experiment_id)] == [None, "gpu7:4242", "gpu7:4242"]
