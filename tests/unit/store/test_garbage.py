"""What is removed of what nobody needs any more, and what never is."""

from pathlib import Path

import pytest
from sqlalchemy import text

from core.states import Ask, State
from core.store import attempts, checkpoints, claims, experiments, extensions, wishes
from core.store.checkpoints import Saved
from core.store.errors import NotAllowed
from core.store.files import Files, tidy
from core.store.garbage import Amount, Garbage, collect
from core.store.leases import Claim
from core.store.session import Store
from tests.unit.store.builders import MINUTE, a_worker, claimed, expired, result, seen_now, submitted

NOW = -1.0  # no file is too young


@pytest.fixture(params=["file", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    return Files(f"file://{tmp_path}/checkpoints" if request.param == "file" else f"memory://{tmp_path}", "0a1b2c3d")


def saved(store: Store, files: Files, claim: Claim, epoch: int) -> Saved:
    """A checkpoint after so many epochs, as a worker writes it."""
    path = f"{files.own(claim.folder)}/{claim.attempt}-{epoch}-0.safetensors"
    sha256 = files.write(path, bytes(10))
    each = Saved(epoch, 0, 20 * epoch, path, sha256, "{}", "cpu")
    with store.writing() as tx:
        attempts.save(tx, claim, each)
    return each


def ended(store: Store, files: Files, days: int, to: State = State.SUCCEEDED) -> tuple[int, str]:
    """One that ended so many days ago: its id, and the path of its last checkpoint."""
    number = submitted(store, epochs=2)
    claim = claimed(store)
    with store.writing() as tx:
        attempts.record(tx, claim, result(1))
        attempts.record(tx, claim, result(2))
    last = saved(store, files, claim, 2)
    with store.writing() as tx:
        attempts.finish(tx, claim, None, to)
        tx.execute(text(f"UPDATE experiments SET ended_ms = ended_ms - {days * 86_400_000} WHERE id = {number}"))
    return number, last.path


def paths(files: Files) -> set[str]:
    return {each.path for each in files.everything()}


def nothing(**but: Amount | int) -> Garbage:
    none = {"checkpoints": Amount(0, 0), "orphans": Amount(0, 0), "keys": 0, "sessions": 0, "others": Amount(0, 0)}
    return Garbage(**(none | but))  # type: ignore[arg-type]


def test_checkpoints_of_what_ended_long_ago_go_and_the_others_stay(store: Store, files: Files) -> None:
    old, path_of_old = ended(store, files, days=31)
    _, path_of_young = ended(store, files, days=29)
    assert collect(store, files, 30, dry_run=True) == nothing(checkpoints=Amount(1, 10))
    assert paths(files) == {path_of_old, path_of_young}
    before = seen_now(store, old)
    assert collect(store, files, 30, dry_run=False) == nothing(checkpoints=Amount(1, 10))
    assert paths(files) == {path_of_young}
    assert collect(store, files, 30, dry_run=False) == nothing()
    now = seen_now(store, old)
    assert (now.checkpoint_step, now.checkpoint_device_kind) == (0, None)
    assert (now.epochs_done, now.revision) == (before.epochs_done, before.revision)
    refusal = "its last checkpoint was not kept: submit the longer spec"
    with pytest.raises(NotAllowed, match=refusal), store.writing() as tx:
        extensions.extend(tx, old, 5)


def test_what_a_longer_one_points_to_stays(store: Store, files: Files) -> None:
    old, path = ended(store, files, days=31)
    with store.writing() as tx:
        child = extensions.extend(tx, old, 5)
    assert collect(store, files, 30, dry_run=True) == nothing()
    assert collect(store, files, 30, dry_run=False) == nothing()
    assert paths(files) == {path}
    with store.reading() as tx:
        assert checkpoints.farthest_first(tx, old) == []
        assert [each.path for each in checkpoints.farthest_first(tx, child.id)] == [path]


def test_one_that_is_retried_begins_again(store: Store, files: Files) -> None:
    old, _ = ended(store, files, days=31, to=State.FAILED)
    collect(store, files, 30, dry_run=False)
    with store.writing() as tx:
        wishes.ask(tx, old, Ask.RETRY)
    worker_id = a_worker(store)
    with store.writing() as tx:
        claim = claims.claim(tx, worker_id, MINUTE, "H200")  # of any kind: it waits for none
    assert claim is not None
    assert claim.experiment_id == old
    with store.reading() as tx:
        assert checkpoints.farthest_first(tx, old) == []


def test_files_that_nothing_points_to_go_but_not_those_of_what_may_be_written(store: Store, files: Files) -> None:
    ended_one, path = ended(store, files, days=0)
    submitted(store)
    running = claimed(store)
    own = files.own
    with store.reading() as tx:
        of_ended = checkpoints.folder(ended_one, experiments.get(tx, ended_one).created_ms)
    kept = {
        path,
        f"{own(running.folder)}/1-1-0.safetensors",  # its pointer is on its way
        f"{own(running.folder)}/.1-2-0.safetensors.half",
        "9-9-deadbeef/1-1-0.safetensors",  # of another database
    }
    left = {f"{own(of_ended)}/.1-1-0.half", f"{own('77-7')}/1-1-0.safetensors", "78-8/1-1-0.safetensors"}
    for each in {*kept, *left} - {path}:
        files.write(each, bytes(5))
    files.write("notes/mine.txt", b"hello")  # in no folder of ours
    expected = nothing(orphans=Amount(3, 15), others=Amount(1, 5))
    assert collect(store, files, 30, dry_run=False) == nothing(others=Amount(1, 5))  # all too young
    assert collect(store, files, 30, dry_run=True, safe_age_s=NOW) == expected
    assert paths(files) == kept | left
    assert collect(store, files, 30, dry_run=False, safe_age_s=NOW) == expected
    assert paths(files) == kept
    assert files.paths_in("notes") == ["notes/mine.txt"]


def test_expired_keys_and_sessions_go(store: Store, files: Files) -> None:
    with store.writing() as tx:
        for n in range(250):
            tx.execute(text(f"INSERT INTO idempotency_keys VALUES ('/experiments', 'k{n}', 'f', '{{}}', 1)"))
        later = "(SELECT max(created_ms) + 3600000 FROM tokens)"
        tx.execute(
            text("INSERT INTO tokens (name, sha256, scope, created_ms) VALUES ('a', 'b', 'read', 4000000000000)")
        )
        tx.execute(text("INSERT INTO sessions VALUES ('over', 1, 1)"))
        tx.execute(text(f"INSERT INTO sessions VALUES ('valid', 1, {later})"))
    assert collect(store, files, 30, dry_run=True) == nothing(keys=250, sessions=1)
    assert collect(store, files, 30, dry_run=False) == nothing(keys=250, sessions=1)
    assert collect(store, files, 30, dry_run=False) == nothing()
    with store.reading() as tx:
        assert tx.execute(text("SELECT sha256 FROM sessions")).scalars().all() == ["valid"]


def test_a_restored_copy_removes_nothing_that_the_other_has_written(store: Store, files: Files) -> None:
    """Whatever it deletes, tidies or collects: the folder of one experiment has two names."""
    first, path = ended(store, files, days=31)
    submitted(store)
    claim = claimed(store)
    of_running = saved(store, files, claim, 0).path
    copy = Files(files.url, "ffffffff")  # as `files_of` gives it to the copy
    assert collect(store, copy, 30, dry_run=False, safe_age_s=NOW).others == Amount(2, 20)
    with store.writing() as tx:
        folders = experiments.remove(tx, first)
    tidy(store, copy, [*folders, claim.folder])
    copy.remove([path, of_running])
    assert paths(files) == {path, of_running}
    own = f"{copy.own(claim.folder)}/1-0-0.safetensors"
    assert own != of_running
    copy.write(own, b"another's bytes")
    copy.remove([own])
    assert paths(files) == {path, of_running}
    tidy(store, files, folders)
    assert paths(files) == {of_running}


def test_a_lost_claims_folder_is_left_to_the_next(store: Store, files: Files) -> None:
    submitted(store)
    claim = claimed(store, lease_ms=-1)
    files.write(f"{files.own(claim.folder)}/1-1-0.safetensors", b"half")
    expired(store)  # queued again
    assert collect(store, files, 0, dry_run=False, safe_age_s=NOW) == nothing()
