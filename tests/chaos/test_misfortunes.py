"""Show 7: a full disk, damaged and unreachable checkpoints, a poison experiment, a step that hangs, no memory."""

import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from core.results import EpochResult
from core.settings import Settings
from core.states import Ask, ErrorKind, State
from core.store import extensions
from core.store.errors import NotAllowed
from tests.chaos.conftest import EPOCHS, Tell
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
def little_space(settings: Settings, record_property: Callable[[str, object], None]) -> Iterator[Settings]:
    """Checkpoints on a disk that has room for one."""
    folder = files(settings)
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        loud = f"NOT TRIED: a full disk. This machine lends no small disk: {mounted.stderr.strip()}"
        record_property("chaos", loud)
        pytest.skip(loud)
    try:
        yield settings
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_on_a_full_disk_training_goes_on(little_space: Settings, undisturbed: list[EpochResult], tell: Tell) -> None:
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
    tell("disk full", trials=1)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    settings: Settings, undisturbed: list[EpochResult], tell: Tell
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
    tell("damaged checkpoint", trials=1, twice=done - older.epoch)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["moved away", "a file in its place"])
def test_where_checkpoints_cannot_be_reached_it_starts_again(
    how: str, settings: Settings, undisturbed: list[EpochResult], tell: Tell
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
    tell(f"unreachable checkpoint folder, {how}", trials=1, twice=done)


@pytest.mark.slow
def test_a_poison_experiment_is_given_up_and_holds_up_nobody(settings: Settings, tell: Tell) -> None:
    rarely = settings.model_copy(update={"checkpoint_seconds": 60})  # so that no newer one forgives a failure
    with at_work(crew_of(rarely, 2)) as crew:
        (poison,) = crew.submit_all([RUN | {"name": "poison"}])
        others = crew.submit_all([RUN | {"epochs": 20, "seed": seed} for seed in range(4)])

        def over() -> bool:
            crew.tend()
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
    tell("poison experiment", trials=1)


@pytest.mark.slow
@pytest.mark.parametrize(("what", "state"), [(Ask.CANCEL, State.CANCELLED), (Ask.PAUSE, State.PAUSED)])
def test_a_step_that_hangs_ends_when_its_user_wishes_it(
    what: Ask, state: State, settings: Settings, tell: Tell
) -> None:
    with at_work(crew_of(settings)) as crew:
        (stuck,) = crew.submit_all([RUN | {"name": "stuck"}])
        crew.wait_for_epoch(stuck)
        crew.ask(stuck, what)
        wait_until(lambda: crew.experiment(stuck).state is state)
        assert crew.experiment(stuck).failures == 0
        statuses: list[int] = []
        wait_until(lambda: bool(statuses.extend(crew.tend()) or statuses))
        assert statuses == [75]
        assert "training does not stop: the process ends" in crew.says()
        (number,) = crew.submit_all([RUN | {"epochs": 3}])
        assert crew.wait_for_end(number).state is State.SUCCEEDED
    tell(f"hung step, {what}", trials=1)


def test_without_memory_it_fails_with_the_numbers_and_the_worker_goes_on(settings: Settings, tell: Tell) -> None:
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
        assert crew.tend() == []
    tell("out of memory", trials=1)
