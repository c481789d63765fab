"""One claim to its end, in this process: what it goes on from, what it refuses, and whose fault it was."""

import contextlib
import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from sqlalchemy import Connection, text

from core import processor
from core.results import DataFacts, EpochResult
from core.settings import Settings
from core.spec import Spec
from core.states import ErrorKind, State
from core.store import attempts, checkpoints, curves, events, experiments
from core.store.checkpoints import Pointer
from core.store.errors import DatabaseUnavailable
from core.store.experiments import Experiment
from core.store.files import Files
from core.store.session import UNFORESEEN, Store
from core.tokens import LOCAL
from core.training import Member, load, train
from tests.integration.hosts import same
from tests.servers import wait_until
from tests.unit.store.builders import MINUTE, PROVENANCE, claimed, expired, result
from tests.unit.training.test_folders import write as write_images
from worker import runner
from worker.held import Held
from worker.leave import Leave
from worker.runner import DeviceBroken, Runner

SPEC = Spec.model_validate(
    {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "importance_weight": "4:1", "epochs": 4}
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class NotCommitted(Exception):
    """A transaction that breaks off at its end."""


class LeaveAfter(Leave):
    """Leaves when it has been asked so often: at every step, and between the batches of an evaluation. At the fifth
    something may be waited for."""

    def __init__(self, asks: int, until: Callable[[], bool] = lambda: True) -> None:
        super().__init__()
        self.left, self._fifth = asks, asks - 5
        self._until = until

    def is_set(self) -> bool:
        if self.left == self._fifth:
            wait_until(self._until)
        self.left -= 1
        return self.left < 0


class Bench:
    """A worker without its process."""

    def __init__(self, store: Store, home: Path, spec: Spec = SPEC) -> None:
        self.store, self.spec = store, spec
        self.settings = Settings(home=home, device="cpu", checkpoint_seconds=1e-6)  # one after every step
        self.files = Files(self.settings.checkpoint_url)
        with store.writing() as tx:
            self.number = experiments.submit(tx, spec).id

    def run(self, leave: Leave | None = None, lease_ms: int = MINUTE) -> Held:
        held = Held(claimed(self.store, lease_ms=lease_ms), leave or Leave())
        self.runner().run(held)
        return held

    def runner(self) -> Runner:
        return Runner(self.store, self.files, self.settings, "cpu", "cpu")

    def submit_another(self, **fields: Any) -> None:
        """From now on, it is the one that is asked about."""
        self.spec = Spec.model_validate(self.spec.model_dump() | fields)
        with self.store.writing() as tx:
            self.number = experiments.submit(tx, self.spec).id

    def leave(self, asks: int) -> list[Pointer]:
        """In mid-training, with two checkpoints: the farthest, and one before it."""
        self.run(LeaveAfter(asks, lambda: bool(self.pointers())))
        return self.pointers()

    def now(self) -> Experiment:
        with self.store.reading() as tx:
            return experiments.get(tx, self.number)

    def told(self) -> list[tuple[str, str | None]]:
        """What it did, since the last claim."""
        with self.store.reading() as tx:
            told = [(event.kind, event.detail) for event in events.read(tx, self.number)]
        last = max(number for number, (kind, _) in enumerate(told) if kind == "claimed")
        return told[last + 1 :]

    def pointers(self) -> list[Pointer]:
        with self.store.reading() as tx:
            return checkpoints.farthest_first(tx, self.number)

    def file(self, pointer: Pointer) -> Path:
        return self.file_of(pointer.path)

    def file_of(self, path: str) -> Path:
        return Path(self.settings.checkpoint_url.removeprefix("file://")) / path

    def is_whole(self) -> bool:
        data = load(self.spec.dataset, self.settings.data_dir, self.settings.locks_dir)
        undisturbed = [row for _, row in train([Member(self.spec)], data) if isinstance(row, EpochResult)]
        with self.store.reading() as tx:
            return self.now().state is State.SUCCEEDED and same(curves.read(tx, self.number)[1], undisturbed)


@pytest.fixture
def bench(store: Store, tmp_path: Path) -> Bench:
    return Bench(store, tmp_path)


def went_on_after(pointer: Pointer) -> tuple[str, str]:
    return "resumed", f"after epoch {pointer.epoch}, step {pointer.step}, of attempt {pointer.attempt}"


# --- from where it goes on


@pytest.mark.parametrize("asks", [10, 25, 40, 70])  # in the first epoch, among images of its tests and of noise, later
def test_who_leaves_has_the_diagnostics_of_who_stayed(store: Store, tmp_path: Path, asks: int) -> None:
    bench = Bench(store, tmp_path, SPEC.model_copy(update={"diagnostics": True}))
    bench.leave(asks)
    bench.run()
    with store.reading() as tx:
        assert all(row.diagnostics for row in curves.read(tx, bench.number)[1])
    assert bench.is_whole()


def test_who_leaves_is_gone_on_with_from_that_step(bench: Bench) -> None:
    farthest, before = bench.leave(25)
    assert farthest.iteration > before.iteration > 0
    bench.run()
    assert bench.told() == [went_on_after(farthest), ("succeeded", None)]
    assert bench.is_whole()


def test_where_the_farthest_checkpoint_is_not_there_an_older_one_will_do(bench: Bench) -> None:
    farthest, before = bench.leave(25)
    bench.file(farthest).unlink()
    bench.run()
    (kind, why), *more = bench.told()
    assert (kind, more) == ("checkpoint_unreachable", [went_on_after(before), ("succeeded", None)])
    assert re.search("cannot be reached .* No such file", why or "")
    assert bench.is_whole()


def test_a_checkpoint_that_was_out_of_reach_once_serves_the_next_attempt(bench: Bench) -> None:
    farthest, _ = bench.leave(45)
    folder = bench.file(farthest).parent
    folder.rename(folder.with_name("away"))
    bench.run(LeaveAfter(10))
    assert [kind for kind, _ in bench.told()] == ["checkpoint_unreachable"] * 2 + ["released"]
    for file in folder.with_name("away").iterdir():
        file.rename(folder / file.name)
    bench.run()
    assert bench.told() == [went_on_after(farthest), ("succeeded", None)]
    assert bench.is_whole()


@pytest.mark.parametrize("damage", ["a bit", "its end", "by its writer"])
def test_a_damaged_one_gives_way_to_the_one_before(bench: Bench, damage: str) -> None:
    farthest, before = bench.leave(25)
    content = bytearray(bench.file(farthest).read_bytes())
    content[len(content) // 2] ^= 1
    bench.file(farthest).write_bytes({"a bit": content, "its end": content[:-9]}.get(damage, b"PK"))
    if damage == "by its writer":  # its checksum is right
        with bench.store.writing() as tx:
            right = {"sha256": hashlib.sha256(b"PK").hexdigest(), "id": farthest.id}
            tx.execute(text("UPDATE checkpoints SET sha256 = :sha256 WHERE id = :id"), right)
    bench.run()
    (kind, _), *more = bench.told()
    assert (kind, more) == ("checkpoint_damaged", [went_on_after(before), ("succeeded", None)])
    assert bench.is_whole()


@pytest.mark.parametrize("computes_bf16", [True, False])
def test_bf16_on_a_processor_without_it_is_an_event_of_the_attempt(
    computes_bf16: bool, store: Store, tmp_path: Path
) -> None:
    narrow = {"model": {"name": "cnn", "width": 2}, "precision": "bf16", "epochs": 1, "importance_weight": "4:1"}
    bench = Bench(store, tmp_path, Spec.model_validate({"dataset": {"name": "digits"}} | narrow))
    with mock.patch.object(processor, "computes_bf16", return_value=computes_bf16):
        bench.run()
    warnings = [] if computes_bf16 else [("warning", processor.SLOW_BF16)]
    assert bench.told() == [*warnings, ("succeeded", None)]


def test_what_this_device_cannot_compute_fails_with_what_to_do(store: Store, tmp_path: Path) -> None:
    of_a_gpu = {"model": {"name": "cnn", "width": 2}, "precision": "tf32", "importance_weight": "4:1"}
    bench = Bench(store, tmp_path, Spec.model_validate({"dataset": {"name": "digits"}} | of_a_gpu))
    with store.writing() as tx:  # as an API of before revision 0010 stores it: the queue does not keep it from a CPU
        tx.execute(text("UPDATE experiments SET device = 'any'"))
    bench.run()
    error = bench.now().error
    assert error is not None
    assert (bench.now().state, error.kind, error.traceback) == (State.FAILED, "bad_device", None)
    assert error.message.startswith("precision tf32 is a GPU's, ")


def test_rows_of_other_images_are_not_gone_on_with(bench: Bench) -> None:
    """As on a host with another MNIST, or another JPEG decoder."""
    claim = claimed(bench.store, lease_ms=-1)
    elsewhere = replace(PROVENANCE, dataset=DataFacts("digits", "0123456789abcdef"))
    with bench.store.writing() as tx:
        attempts.begin(tx, claim, elsewhere, None)
        attempts.record(tx, claim, result(1))
    expired(bench.store)
    bench.run()
    error = bench.now().error
    assert error is not None
    assert error.kind is ErrorKind.BAD_DATA
    assert re.search(r"others than those .* \(SHA-256 [0-9a-f]{12} instead of 0123456789ab\): give", error.message)
    assert bench.now().epochs_done == 1


# --- what it takes over from the run before


def test_members_of_a_sweep_share_the_data_and_no_bit_of_a_curve(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = mock.Mock(side_effect=load)
    monkeypatch.setattr(runner, "load", loads)
    one = bench.runner()
    one.run(Held(claimed(bench.store), Leave()))
    for fields in ({"importance_weight": "1:4"}, {"seed": 1}, {"dataset": {"name": "digits", "label_noise": 0.1}}):
        bench.submit_another(**fields)
        one.run(Held(claimed(bench.store), Leave()))
        assert bench.is_whole()
    assert [call.args[0].label_noise for call in loads.call_args_list] == [0, 0.1]


def test_a_folder_whose_images_are_others_by_now_is_read_again(store: Store, tmp_path: Path) -> None:
    write_images(tmp_path / "data/folders/pets/train", classes={"dog": 20, "cat": 21})
    write_images(tmp_path / "data/folders/pets/test", classes={"dog": 3, "cat": 2})
    pets = {"name": "image_folder", "folder": "pets", "base_class": "dog", "other_class": "cat"}
    bench = Bench(store, tmp_path, Spec.model_validate(SPEC.model_dump() | {"dataset": pets}))
    one = bench.runner()
    one.run(Held(claimed(store), Leave()))
    before = bench.now().provenance
    (tmp_path / "data/folders/pets/train/cat/000.png").unlink()
    bench.submit_another(seed=1)
    one.run(Held(claimed(store), Leave()))
    after = bench.now().provenance
    assert before is not None
    assert after is not None
    assert before["dataset"]["sha256"] != after["dataset"]["sha256"]
    assert bench.is_whole()


# --- whose fault it was


REFUSES_ROWS = {
    "sqlite": "CREATE TRIGGER ours BEFORE INSERT ON curve_rows BEGIN SELECT RAISE(ABORT, 'ours'); END",
    "postgresql": "ALTER TABLE curve_rows ADD CONSTRAINT ours CHECK (epoch < 0)",
}


def test_our_own_fault_in_a_write_ends_the_experiment_and_not_the_worker(bench: Bench) -> None:
    with bench.store.writing() as tx:
        tx.execute(text(REFUSES_ROWS[bench.store.dialect]))
    bench.run()
    error = bench.now().error
    assert error is not None
    assert error.kind is ErrorKind.INTERNAL
    assert re.match("IntegrityError: .*ours", error.message)
    assert "Traceback" in (error.traceback or "")


def test_a_device_that_breaks_as_memory_is_given_back_ends_the_process(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = mock.Mock(side_effect=torch.AcceleratorError("CUDA error: unspecified launch failure\nmore"))
    monkeypatch.setattr(runner.devices, "release", broken)
    with pytest.raises(DeviceBroken, match=r"^cpu: CUDA error: unspecified launch failure$"):
        bench.run()
    assert bench.now().state is State.SUCCEEDED


def test_a_fault_of_the_database_that_nobody_foresaw_is_left_to_the_lease(bench: Bench) -> None:
    with bench.store.writing() as tx:
        tx.execute(text("ALTER TABLE curve_rows RENAME TO hidden"))
    with pytest.raises(UNFORESEEN, match="curve_rows"):
        bench.run()
    with bench.store.writing() as tx:
        tx.execute(text("ALTER TABLE hidden RENAME TO curve_rows"))
    assert bench.now().state is State.RUNNING


def test_who_must_stop_does_not_wait_for_checkpoints_out_of_reach(bench: Bench) -> None:
    pointers = bench.leave(25)
    folder = bench.file(pointers[0]).parent
    folder.rename(folder.with_name("away"))
    folder.write_text("not a folder")
    bench.run(LeaveAfter(3))  # it is asked before each try
    assert [kind for kind, _ in bench.told()] == ["checkpoint_unreachable", "released"]  # of two, one was tried
    assert bench.now().state is State.QUEUED
    assert bench.pointers() == pointers


# --- what is left behind


def test_who_has_lost_the_claim_leaves_no_checkpoint_behind(bench: Bench) -> None:
    class Lost(LeaveAfter):
        def is_set(self) -> bool:
            if self.left == 20:
                wait_until(lambda: expired(bench.store) == 1)  # not while the row is being written
            return super().is_set()

    held = bench.run(Lost(40), lease_ms=-1)
    assert held.lost
    assert bench.now().state is State.QUEUED
    assert sorted(bench.files.paths_in(held.claim.folder)) == sorted(pointer.path for pointer in bench.pointers())


@pytest.mark.parametrize("committed", [True, False])
def test_a_checkpoint_is_kept_if_its_pointer_was_written_and_only_the_answer_was_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    def loses_its_claim_and_the_answer(store: Store, actor: str = LOCAL) -> Iterator[Connection]:
        with contextlib.suppress(NotCommitted), writing(store, actor) as tx:
            yield tx
            saves = tx.execute(text("SELECT count(*) FROM checkpoints")).scalar()
            if saves and not committed:
                raise NotCommitted
        if saves:
            monkeypatch.undo()
            wait_until(lambda: expired(bench.store) == 1)
            raise DatabaseUnavailable("the link is cut")

    writing = Store.writing
    monkeypatch.setattr(Store, "writing", contextlib.contextmanager(loses_its_claim_and_the_answer))
    held = bench.run(lease_ms=-1)
    assert held.lost
    there = bench.files.paths_in(held.claim.folder)
    assert there == [pointer.path for pointer in bench.pointers()]
    assert len(there) == committed
    assert bench.file_of(held.claim.folder).exists() == committed


def test_the_last_checkpoint_is_tried_again(bench: Bench) -> None:
    bench.settings = bench.settings.model_copy(update={"checkpoint_seconds": 60})  # it is the only one
    place = bench.file_of("")
    place.write_text("not a folder")
    threading.Timer(1.5, place.unlink).start()
    bench.run()
    assert bench.told() == [("succeeded", None)]
    assert [(each.epoch, each.step) for each in bench.pointers()] == [(4, 0)]


def test_of_checkpoints_that_wait_only_the_newest_is_written(bench: Bench, database_url: str) -> None:
    other, holding = Store(database_url), contextlib.ExitStack()

    class Holds(LeaveAfter):
        def is_set(self) -> bool:
            if self.left == 35:
                tx = holding.enter_context(other.writing())
                tx.execute(text("UPDATE experiments SET revision = revision"))
            if self.left == 2:
                holding.close()
            return super().is_set()

    bench.run(Holds(40))
    newest = bench.pointers()[0]
    assert newest.iteration > 10
    assert newest.id < 10  # they are counted
    other.close()
