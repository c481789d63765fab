"""A full disk, damaged and unreachable checkpoints, a poison experiment, a step that hangs, no memory."""

import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from core.results import EpochResult
from core.settings import Settings
from core.spec import Spec
from core.states import Ask, ErrorKind, State
from core.store import experiments, extensions
from core.store.errors import DatabaseBroken, NotAllowed
from core.store.session import Store
from tests.chaos.conftest import EPOCHS, Summarize
from tests.chaos.crew import Crew, at_work
from tests.chaos.trials import is_whole
from tests.integration.hosts import DIGITS, settings_over
from tests.servers import wait_until

RUN = DIGITS | {"epochs": EPOCHS}

MISFORTUNES = {
    "heartbeat_seconds": 0.3,
    "lease_seconds": 3,
    "checkpoint_seconds": 0.3,
    "wish_seconds": 1.5,
    "max_failures": 3,
}


@pytest.fixture
def settings(template: Path, tmp_path: Path) -> Settings:
    return settings_over(template, tmp_path, **MISFORTUNES)


def crew_of(settings: Settings, size: int = 1) -> Crew:
    return Crew(settings, size)


def killed_with_two_checkpoints(crew: Crew) -> int:
    """An experiment whose worker has just been killed; nobody has taken it over yet."""
    (number,) = crew.submit_all([RUN])
    wait_until(lambda: len(crew.pointers(number)) == 2 and crew.pointers(number)[1].epoch > 0)
    assert crew.kill(crew.experiment(number)) is not None
    return number


def files(settings: Settings) -> Path:
    return Path(settings.checkpoint_url.removeprefix("file://"))


@pytest.fixture
def small_disk(record_property: Callable[[str, object], None]) -> Iterator[Callable[[Path, str], None]]:
    """Mounts one of a size at a folder."""
    there: list[Path] = []

    def mount(folder: Path, size: str) -> None:
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode != 0:
            loud = f"NOT TRIED: a full disk. This machine lends no small disk: {mounted.stderr.strip()}"
            record_property("chaos", loud)
            pytest.skip(loud)
        there.append(folder)

    try:
        yield mount
    finally:
        for folder in there:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def little_space(settings: Settings, small_disk: Callable[[Path, str], None]) -> Settings:
    """Checkpoints on a disk that has room for one."""
    small_disk(files(settings), "400k")
    return settings


@pytest.mark.slow
def test_on_a_full_disk_training_goes_on(
    little_space: Settings, undisturbed: list[EpochResult], summarize: Summarize
) -> None:
    with at_work(crew_of(little_space)) as crew:
        (number,) = crew.submit_all([RUN])
        crew.wait_for_end(number)
        is_whole(crew, number, undisturbed)
        told = [event.detail or "" for event in crew.events(number) if event.kind == "checkpoint_failed"]
        assert len(told) == 1, told  # said once, not with every checkpoint
        assert "No space left on device" in told[0]
        assert len(crew.pointers(number)) == 1
        with pytest.raises(NotAllowed, match="its last checkpoint was not kept"), crew.store.writing() as tx:
            extensions.extend(tx, number, EPOCHS + 1)
    summarize("disk full", trials=1)


def submit_for_ever(store: Store) -> NoReturn:
    while True:
        with store.writing() as tx:
            experiments.submit(tx, Spec.model_validate(DIGITS))


def test_on_a_full_disk_a_service_says_that_it_is_not_ready_until_there_is_room(
    template: Path, tmp_path: Path, small_disk: Callable[[Path, str], None]
) -> None:
    folder = tmp_path / "disk"
    small_disk(folder, "2m")
    shutil.copy(template, folder / "ballast.db")
    store = Store(f"sqlite:///{folder / 'ballast.db'}")
    store.try_to_write()
    with (folder / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    with pytest.raises(DatabaseBroken, match="full"):
        submit_for_ever(store)  # until the write-ahead log would have to grow
    with pytest.raises(DatabaseBroken, match="full"):
        store.try_to_write()
    (folder / "filler").unlink()
    store.try_to_write()
    store.close()


@pytest.mark.slow
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    settings: Settings, undisturbed: list[EpochResult], summarize: Summarize
) -> None:
    with at_work(crew_of(settings)) as crew:
        number = killed_with_two_checkpoints(crew)
        newest, older = crew.pointers(number)
        file = files(settings) / newest.path
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1  # a single bit
        file.write_bytes(content)
        done = crew.experiment(number).epochs_done
        crew.wait_for_end(number)
        is_whole(crew, number, undisturbed)
        kinds = crew.kinds(number)
        assert kinds[-4:] == ["claimed", "checkpoint_damaged", "resumed", "succeeded"], kinds
        (resumed,) = [event.detail for event in crew.events(number) if event.kind == "resumed"]
        assert resumed == f"after epoch {older.epoch}, step {older.step}, of attempt 1"
        assert not file.exists()
    summarize("damaged checkpoint", trials=1, twice=done - older.epoch)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["moved away", "a file in its place"])
def test_where_checkpoints_cannot_be_reached_it_starts_again(
    how: str, settings: Settings, undisturbed: list[EpochResult], summarize: Summarize
) -> None:
    with at_work(crew_of(settings)) as crew:
        number = killed_with_two_checkpoints(crew)
        done = crew.experiment(number).epochs_done
        shutil.move(files(settings), files(settings).with_name("elsewhere"))
        if how != "moved away":
            files(settings).write_text("no folder")
        crew.wait_for_end(number)
        is_whole(crew, number, undisturbed)
        kinds = crew.kinds(number)
        assert "checkpoint_unreachable" in kinds
        assert "resumed" not in kinds
        assert ("checkpoint_failed" in kinds) == (how != "moved away")
    summarize(f"unreachable checkpoint folder, {how}", trials=1, twice=done)


@pytest.mark.slow
def test_a_poison_experiment_is_given_up_and_holds_up_nobody(settings: Settings, summarize: Summarize) -> None:
    rarely = settings.model_copy(update={"checkpoint_seconds": 60})  # so that no newer one forgives a failure
    with at_work(crew_of(rarely, 2)) as crew:
        (poison,) = crew.submit_all([RUN | {"name": "poison"}])
        others = crew.submit_all([RUN | {"epochs": 20, "seed": seed} for seed in range(4)])

        def over() -> bool:
            crew.replace_ended()
            return crew.all_ended([poison, *others])

        wait_until(over)
        assert all(crew.experiment(each).state is State.SUCCEEDED for each in others)
        lost = crew.experiment(poison)
        assert lost.state is State.FAILED
        assert lost.error is not None
        assert lost.error.kind is ErrorKind.LOST
        told = r"3 times without a newer checkpoint: attempt 1 \(.*\), attempt 2 \(.*\), attempt 3 \("
        assert re.search(told, lost.error.message), lost.error
        crew.ask(poison, Ask.RETRY)
        assert crew.experiment(poison).failures == 0
        crew.ask(poison, Ask.CANCEL)
    summarize("poison experiment", trials=1)


@pytest.mark.slow
@pytest.mark.parametrize(("what", "state"), [(Ask.CANCEL, State.CANCELLED), (Ask.PAUSE, State.PAUSED)])
def test_a_step_that_hangs_ends_when_its_user_wishes_it(
    what: Ask, state: State, settings: Settings, summarize: Summarize
) -> None:
    with at_work(crew_of(settings)) as crew:
        (stuck,) = crew.submit_all([RUN | {"name": "stuck"}])
        crew.wait_for_epoch(stuck)
        crew.ask(stuck, what)
        wait_until(lambda: crew.experiment(stuck).state is state)
        assert crew.experiment(stuck).failures == 0
        statuses: list[int] = []
        wait_until(lambda: bool(statuses.extend(crew.replace_ended()) or statuses))
        assert statuses == [75]
        assert "training does not stop: the process ends" in crew.log_text()
        (number,) = crew.submit_all([RUN | {"epochs": 3}])
        assert crew.wait_for_end(number).state is State.SUCCEEDED
    summarize(f"hung step, {what}", trials=1)


@pytest.mark.slow
def test_without_memory_it_fails_with_the_numbers_and_the_worker_goes_on(
    settings: Settings, summarize: Summarize
) -> None:
    with at_work(crew_of(settings)) as crew:
        (first,) = crew.submit_all([RUN | {"epochs": 3}])
        crew.wait_for_end(first)
        (worker,) = crew.workers()
        process = psutil.Process(worker.pid)
        limit = process.memory_info().vms + 400 * 2**20
        process.rlimit(resource.RLIMIT_AS, (limit, limit))
        (large,) = crew.submit_all([RUN | {"model": {"name": "mlp", "hidden": 65_536}}])
        (small,) = crew.submit_all([RUN | {"epochs": 3}])
        error = crew.wait_for_end(large).error
        assert error is not None
        assert error.kind is ErrorKind.OUT_OF_MEMORY, error
        assert re.search(
            r"cpu: .*allocate \d+ bytes.* \(with batch_size 16, .*65536.*: choose smaller ones\)", (error.message)
        ), error.message
        assert crew.wait_for_end(small).state is State.SUCCEEDED
        assert crew.replace_ended() == []
    summarize("out of memory", trials=1)
