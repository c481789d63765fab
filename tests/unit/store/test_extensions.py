"""One that was not long enough goes on as another: with its rows, from its end, owing it nothing."""

import pytest

from core.results import Predictions
from core.states import ErrorKind, State
from core.store import attempts, checkpoints, claims, curves, events, experiments, extensions, predictions
from core.store.checkpoints import Saved
from core.store.errors import NotAllowed, NotFound, NotLonger
from core.store.experiments import Experiment, ExperimentError
from core.store.leases import Claim
from core.store.session import Store
from tests.unit.store.builders import DIAGNOSTICS, claimed, result, seen_now, spec, submitted


def succeeded(store: Store, *, with_checkpoint: bool = True, **fields: object) -> Claim:
    submitted(store, **fields)
    return with_success(store, claimed(store), with_checkpoint=with_checkpoint)


def with_success(store: Store, claim: Claim, *, with_checkpoint: bool = True) -> Claim:
    """With a row an epoch that is still missing, predictions as its spec wants them, and its last checkpoint."""
    done = seen_now(store, claim.experiment_id).epochs_done
    rows = [epoch for epoch in range(done + 1, claim.spec.epochs + 1) if claim.spec.evaluated(epoch)]
    last = claim.spec.epochs
    saved = Saved(last, 0, 20 * last, f"{claim.folder}/1-{last}-0", "sha256", "{}", "H200")
    with store.writing() as tx:
        for epoch in rows:
            kept = Predictions(bytes([epoch]), b"o") if claim.spec.predicted(epoch) else None
            row = result(epoch, predictions=kept, diagnostics=DIAGNOSTICS._replace(margin_low_other=epoch))
            if epoch < last:
                attempts.record(tx, claim, row)
            else:
                attempts.finish(tx, claim, row, State.SUCCEEDED, saved=saved if with_checkpoint else None)
    return claim


def extended(store: Store, experiment_id: int, epochs: int) -> Experiment:
    with store.writing() as tx:
        return extensions.extend(tx, experiment_id, epochs)


def test_the_child_begins_with_the_parents_rows_and_its_last_checkpoint(store: Store) -> None:
    parent = succeeded(store, name="mine", epochs=3)
    child = extended(store, parent.experiment_id, 5)
    assert child.digest == spec(epochs=5).digest
    assert (child.name, child.state, child.extends) == ("mine", State.QUEUED, parent.experiment_id)
    assert (child.epochs_done, child.epochs_total, child.attempt) == (3, 5, 0)
    with store.reading() as tx:
        rows = curves.read(tx, child.id)[1]
        assert rows == curves.read(tx, parent.experiment_id)[1]
        assert [row.diagnostics and row.diagnostics.margin_low_other for row in rows] == [1, 2, 3]
        (pointer,) = checkpoints.farthest_first(tx, child.id)
        assert (pointer.epoch, pointer.path) == (3, f"{parent.folder}/1-3-0")
        assert [event.kind for event in events.read(tx, child.id)] == ["submitted", "extends"]
    assert seen_now(store, parent.experiment_id).state is State.SUCCEEDED


def test_the_child_waits_for_the_kind_of_device_that_trained_its_parent(store: Store) -> None:
    child = extended(store, succeeded(store).experiment_id, 5)
    with store.writing() as tx:
        assert claims.claim(tx, 1, 1000, "cpu") is None
    assert claimed_by(store, "H200").experiment_id == child.id


def test_the_child_keeps_the_predictions_that_a_run_of_its_length_keeps(store: Store) -> None:
    parent = succeeded(store, epochs=60)
    short, long = extended(store, parent.experiment_id, 70), extended(store, parent.experiment_id, 1000)
    with store.reading() as tx:
        assert predictions.read(tx, short.id).epochs == [1, 2, 4, 8, 16, *range(21, 61)]
        assert predictions.read(tx, long.id).epochs == [1, 2, 4, 8, 16, 32]


def test_deleting_the_parent_takes_nothing_from_the_child(store: Store) -> None:
    parent = succeeded(store)
    child = extended(store, parent.experiment_id, 5)
    with store.writing() as tx:
        experiments.remove(tx, parent.experiment_id)
    with store.reading() as tx:
        (pointer,) = checkpoints.farthest_first(tx, child.id)
        assert checkpoints.paths_without_pointer(tx, [pointer.path]) == []
        assert len(curves.read(tx, child.id)[1]) == 3
        assert checkpoints.folders_of(tx, [child.id]) == {parent.folder, f"{child.id}-{child.created_ms}"}


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_it_must_be_longer(store: Store, epochs: int) -> None:
    parent = succeeded(store, epochs=3)
    with pytest.raises(NotLonger, match="has 3 epochs already: ask for more"):
        extended(store, parent.experiment_id, epochs)


def test_only_what_has_succeeded_can_be_extended(store: Store) -> None:
    queued = submitted(store)
    with pytest.raises(NotAllowed, match="is queued: only one that has succeeded can be extended"):
        extended(store, queued, 5)
    claim = claimed(store)
    with store.writing() as tx:
        attempts.finish(tx, claim, None, State.FAILED, ExperimentError(ErrorKind.BAD_DATA, "x"))
    with pytest.raises(NotAllowed, match="has failed: only one that has succeeded"):
        extended(store, queued, 5)
    with pytest.raises(NotFound):
        extended(store, 99, 5)


def test_the_old_end_must_be_a_row_of_the_longer_curve_too(store: Store) -> None:
    parent = succeeded(store, epochs=5, eval_every=2)
    with pytest.raises(NotAllowed, match="its last row is of epoch 5, and with eval_every 2"):
        extended(store, parent.experiment_id, 8)
    assert extended(store, succeeded(store, epochs=4, eval_every=2).experiment_id, 7).epochs_total == 7


def test_without_its_last_checkpoint_it_cannot_be_extended(store: Store) -> None:
    parent = succeeded(store, with_checkpoint=False)
    with pytest.raises(NotAllowed, match="its last checkpoint was not kept"):
        extended(store, parent.experiment_id, 5)


def test_a_child_can_be_extended_again(store: Store) -> None:
    child = extended(store, succeeded(store).experiment_id, 5)
    claim = claimed_by(store, "H200")
    saved = Saved(5, 0, 100, f"{claim.folder}/1-5-0", "sha256", "{}", "H200")
    with store.writing() as tx:
        attempts.record(tx, claim, result(4))
        attempts.finish(tx, claim, result(5), State.SUCCEEDED, saved=saved)
    grandchild = extended(store, child.id, 9)
    assert (grandchild.extends, grandchild.epochs_done) == (child.id, 5)


def claimed_by(store: Store, device_kind: str) -> Claim:
    with store.writing() as tx:
        claim = claims.claim(tx, 1, 60_000, device_kind)
    assert claim is not None
    return claim
