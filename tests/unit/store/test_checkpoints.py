"""Pointers to checkpoints, behind the rows and under the fence; the files that they point to; who may go on."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from core.states import Ask, ErrorKind, State
from core.store import attempts, checkpoints, claims, events, experiments, wishes
from core.store.checkpoints import Pointer, Saved
from core.store.errors import CheckpointDamaged, CheckpointUnreachable, ClaimLost
from core.store.files import Files, tidy
from core.store.leases import Claim
from core.store.session import Store
from tests.unit.store.builders import (
    ENDED,
    MINUTE,
    NUMERICS,
    PROVENANCE,
    a_worker,
    claimed,
    event_kinds,
    expired,
    released,
    result,
    seen_now,
    submitted,
)


def saved_at(iteration: int, claim: Claim, *, epoch: int = 0, step: int = 5, device_kind: str = "cpu") -> Saved:
    path = f"{claim.folder}/{claim.attempt}-{epoch}-{step}-{iteration}"
    return Saved(epoch, step, iteration, path, "sha256", NUMERICS.as_json(), device_kind)


def save(store: Store, claim: Claim, saved: Saved) -> list[str]:
    with store.writing() as tx:
        return attempts.save(tx, claim, saved)


def recorded(store: Store, claim: Claim, epoch: int) -> None:
    with store.writing() as tx:
        attempts.record(tx, claim, result(epoch))


def pointers(store: Store, experiment_id: int) -> list[Pointer]:
    with store.reading() as tx:
        return checkpoints.farthest_first(tx, experiment_id)


# --- pointers


def test_the_newest_two_are_kept_and_the_paths_of_the_others_are_told(store: Store) -> None:
    submitted(store)
    claim = claimed(store)
    told = [save(store, claim, saved_at(n, claim, step=n)) for n in (1, 2, 3, 4)]
    assert [each.step for each in pointers(store, claim.experiment_id)] == [4, 3]
    assert told == [[], [], [saved_at(1, claim, step=1).path], [saved_at(2, claim, step=2).path]]


def test_a_pointer_never_overtakes_the_rows(store: Store) -> None:
    submitted(store)
    claim = claimed(store)
    recorded(store, claim, 1)
    save(store, claim, saved_at(20, claim, epoch=1))
    with pytest.raises(IntegrityError, match="checkpoint_row"):
        save(store, claim, saved_at(40, claim, epoch=2))
    assert [each.epoch for each in pointers(store, claim.experiment_id)] == [1]


def test_between_two_evaluations_a_pointer_may_be_ahead_of_the_last_row(store: Store) -> None:
    submitted(store, epochs=9, eval_every=4)
    claim = claimed(store)
    save(store, claim, saved_at(60, claim, epoch=3))
    with pytest.raises(IntegrityError, match="checkpoint_row"):
        save(store, claim, saved_at(80, claim, epoch=4))
    recorded(store, claim, 4)
    save(store, claim, saved_at(80, claim, epoch=4))
    save(store, claim, saved_at(150, claim, epoch=7))


def test_who_has_lost_the_claim_points_to_nothing(store: Store) -> None:
    submitted(store)
    old = claimed(store, lease_ms=ENDED)
    expired(store)
    new = claimed(store)
    for act in (
        lambda tx: attempts.save(tx, old, saved_at(1, old)),
        lambda tx: attempts.note(tx, old, "checkpoint_failed", "x"),
        lambda tx: attempts.begin(tx, old, PROVENANCE, Pointer(1, 1, 0, 5, 5, "p", "s", NUMERICS.as_json())),
        lambda tx: attempts.begin(tx, old, PROVENANCE, None),
        lambda tx: attempts.give_up(tx, old, Pointer(1, 1, 0, 5, 5, "p", "s", NUMERICS.as_json()), "x"),
    ):
        with pytest.raises(ClaimLost), store.writing() as tx:
            act(tx)
    assert pointers(store, new.experiment_id) == []
    assert event_kinds(store, new.experiment_id) == ["submitted", "claimed", "lease_lost", "claimed"]


def test_the_same_pointer_again_is_one(store: Store) -> None:
    """The answer to a commit may be lost."""
    submitted(store)
    claim = claimed(store)
    save(store, claim, saved_at(1, claim, step=1))
    for _ in range(3):
        assert save(store, claim, saved_at(2, claim, step=2)) == []
    assert [each.step for each in pointers(store, claim.experiment_id)] == [2, 1]


def test_only_a_farther_checkpoint_forgives_the_failures(store: Store) -> None:
    experiment_id = submitted(store)
    seen = []
    for iteration in (10, 10, 7, 11):
        claim = claimed(store, lease_ms=ENDED)
        before = seen_now(store, experiment_id)
        save(store, claim, saved_at(iteration, claim))
        now = seen_now(store, experiment_id)
        assert (now.revision > before.revision) == (now.failures != before.failures)
        seen.append((before.failures, now.failures))
        expired(store)
    assert seen == [(0, 0), (1, 1), (2, 2), (3, 0)]


def test_farther_ones_that_were_out_of_reach_are_kept_until_it_has_passed_them(store: Store) -> None:
    experiment_id = submitted(store)
    first = claimed(store, lease_ms=ENDED)
    for n in (50, 60):
        save(store, first, saved_at(n, first, step=n))
    expired(store)
    again = claimed(store)
    with store.writing() as tx:
        attempts.begin(tx, again, PROVENANCE, None)
    kept = []
    for n in (10, 20, 30, 55, 70, 80):
        save(store, again, saved_at(n, again, step=n))
        kept.append([each.iteration for each in pointers(store, experiment_id)])
    assert kept == [[60, 50, 10], [60, 50, 20, 10], [60, 50, 30, 20], [60, 55, 30], [70, 55], [80, 70]]


def test_a_claim_tells_of_which_images_its_rows_and_checkpoints_are(store: Store) -> None:
    experiment_id = submitted(store)
    told = []
    for write in ("nothing", "a row", "nothing"):
        claim = claimed(store, lease_ms=ENDED)
        told.append(claim.data_sha256)
        with store.writing() as tx:
            attempts.begin(tx, claim, PROVENANCE, None)
        if write == "a row":
            recorded(store, claim, 1)
        expired(store)
    assert told == [None, None, "5a"]
    assert seen_now(store, experiment_id).epochs_done == 1


def test_an_experiment_that_is_lost_says_where(store: Store) -> None:
    experiment_id = submitted(store)
    for pid in (1, 2, 3):
        claimed(store, worker_id=a_worker(store, pid=pid), lease_ms=ENDED)
        expired(store, max_failures=3)
    error = seen_now(store, experiment_id).error
    assert error is not None
    assert error.kind is ErrorKind.LOST
    assert "3 times without a newer checkpoint: attempt 1 (gpu1:1), attempt 2 (gpu1:2), attempt 3 (gpu1:3)" in (
        error.message
    )


def test_going_on_is_an_event_and_under_other_numerics_another(store: Store) -> None:
    submitted(store)
    claim = claimed(store)
    save(store, claim, saved_at(5, claim))
    (pointer,) = pointers(store, claim.experiment_id)
    elsewhere = replace(PROVENANCE, numerics_key=replace(NUMERICS, device="H200"))
    older = json.loads(NUMERICS.as_json()) | {"tf32": True}
    del older["threads"]
    with store.writing() as tx:
        attempts.begin(tx, claim, PROVENANCE, pointer)
        attempts.begin(tx, claim, elsewhere, pointer)
        attempts.begin(tx, claim, elsewhere, None)
        attempts.begin(tx, claim, PROVENANCE, pointer._replace(numerics=json.dumps(older)))
    with store.reading() as tx:
        told = [(event.kind, event.detail) for event in events.read(tx, claim.experiment_id)][2:]
    assert told == [
        ("resumed", "after epoch 0, step 5, of attempt 1"),
        ("resumed", "after epoch 0, step 5, of attempt 1"),
        ("numerics_changed", "its bits may differ from here on: device H200 instead of cpu"),
        ("resumed", "after epoch 0, step 5, of attempt 1"),
        ("numerics_changed", "its bits may differ from here on: tf32 None instead of True, threads 1 instead of None"),
    ]


def test_one_that_is_given_up_is_pointed_to_no_more(store: Store) -> None:
    submitted(store)
    claim = claimed(store)
    for n in (1, 2):
        save(store, claim, saved_at(n, claim, step=n))
    newest, older = pointers(store, claim.experiment_id)
    with store.writing() as tx:
        attempts.give_up(tx, claim, newest, "it is damaged")
    assert pointers(store, claim.experiment_id) == [older]


# --- who may go on


def claim_by(store: Store, device_kind: str) -> Claim | None:
    worker_id = a_worker(store)
    with store.writing() as tx:
        return claims.claim(tx, worker_id, MINUTE, device_kind)


def ten_minutes_later(store: Store) -> None:
    with store.writing() as tx:
        tx.execute(text("UPDATE experiments SET requeued_ms = requeued_ms - 600001"))


def test_one_with_a_checkpoint_waits_ten_minutes_for_the_kind_that_wrote_it(store: Store) -> None:
    first, second = submitted(store), submitted(store)
    claim = claim_by(store, "H200")
    assert claim is not None
    save(store, claim, saved_at(1, claim, device_kind="H200"))
    released(store, claim)
    other = claim_by(store, "cpu")
    assert other is not None
    assert other.experiment_id == second  # the first stands before it, and waits
    assert claim_by(store, "cpu") is None
    ten_minutes_later(store)
    late = claim_by(store, "cpu")
    assert late is not None
    assert late.experiment_id == first


@pytest.mark.parametrize("way", ["lost", "paused", "retried"])
def test_the_ten_minutes_begin_when_it_comes_back_into_the_queue(store: Store, way: str) -> None:
    experiment_id, worker_id = submitted(store), a_worker(store)
    with store.writing() as tx:
        claim = claims.claim(tx, worker_id, ENDED, "H200")
    assert claim is not None
    save(store, claim, saved_at(1, claim, device_kind="H200"))
    if way != "lost":
        with store.writing() as tx:
            wishes.ask(tx, experiment_id, Ask.PAUSE if way == "paused" else Ask.CANCEL)
    expired(store)
    ten_minutes_later(store)
    if way == "lost":
        assert claim_by(store, "cpu") is not None
        return
    with store.writing() as tx:
        wishes.ask(tx, experiment_id, Ask.RESUME if way == "paused" else Ask.RETRY)
    assert claim_by(store, "cpu") is None
    assert claim_by(store, "H200") is not None


# --- files


@pytest.fixture(params=["file", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    return Files(f"file://{tmp_path}/check points" if request.param == "file" else f"memory://{tmp_path}")


def test_what_is_written_is_read_again_and_what_was_changed_is_damaged(files: Files) -> None:
    sha256 = files.write("7-1/1-0-5.safetensors", b"content")
    assert files.read("7-1/1-0-5.safetensors", sha256) == b"content"
    files.write("7-1/1-0-5.safetensors", b"consent")
    with pytest.raises(CheckpointDamaged, match=r"checkpoint 7-1/1-0-5.safetensors is damaged"):
        files.read("7-1/1-0-5.safetensors", sha256)


def test_what_is_not_there_is_unreachable_and_not_damaged(files: Files) -> None:
    with pytest.raises(CheckpointUnreachable, match="7-1/none cannot be reached below"):
        files.read("7-1/none", "")
    assert files.paths_in("7-1") == []
    files.remove(["7-1/none"])


@pytest.mark.parametrize("url", ["s3x://bucket", "file:///proc/nothing", "nonsense://"])
def test_a_place_that_cannot_be_used_is_unreachable(url: str) -> None:
    with pytest.raises(CheckpointUnreachable, match="7-1/a cannot be reached"):
        Files(url).write("7-1/a", b"content")


def test_no_sentence_holds_the_password_of_the_place() -> None:
    with pytest.raises(CheckpointUnreachable) as told:
        Files("s3x://key:secret@bucket/below").write("7-1/a", b"content")
    assert "cannot be reached below s3x://bucket/below" in str(told.value)
    assert "secret" not in str(told.value)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(str(tmp_path))
    files.write("7-1/a", b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckpointUnreachable, match="No space left on device"):
        files.write("7-1/a", b"new")
    assert [each.read_bytes() for each in (tmp_path / "7-1").iterdir()] == [b"old"]


def test_what_nobody_points_to_is_tidied_away_and_the_empty_folder_too(store: Store, files: Files) -> None:
    submitted(store)
    claim = claimed(store)
    saved = saved_at(1, claim)
    save(store, claim, saved)
    files.write(saved.path, b"content")
    files.write(f"{claim.folder}/half", b"con")
    tidy(store, files, [claim.folder, "8-2"])
    assert files.paths_in(claim.folder) == [saved.path]
    with store.writing() as tx:
        attempts.finish(tx, claim, None, State.FAILED, experiments.ExperimentError(ErrorKind.BAD_DATA, "x"))
        folders = experiments.remove(tx, claim.experiment_id)
    assert folders == {claim.folder}
    tidy(store, files, folders)
    assert files.paths_in(claim.folder) == []
    if files.url.startswith("file"):
        assert not (Path(files.url.removeprefix("file://")) / claim.folder).exists()
