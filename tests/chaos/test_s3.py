"""Checkpoints in S3: a real client, and a server that speaks it, of a pip package."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.opening import files_of
from core.results import EpochResult
from core.settings import Settings
from core.store import experiments
from core.store.errors import CheckpointUnreachable
from core.store.files import Files, tidy
from core.store.garbage import collect
from core.store.session import Store
from tests.chaos.conftest import EPOCHS, Summarize
from tests.chaos.crew import Crew, at_work
from tests.chaos.trials import is_whole
from tests.integration.hosts import DIGITS, settings_over
from tests.servers import S3, NoS3, wait_until

pytestmark = pytest.mark.slow

RUN = DIGITS | {"epochs": EPOCHS}
OFTEN = {"heartbeat_seconds": 0.3, "lease_seconds": 3, "checkpoint_seconds": 0.3}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    try:
        server = S3()
    except NoS3 as reason:
        pytest.skip(str(reason))
    with server:
        yield server


@pytest.fixture
def settings(s3: S3, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return settings_over(template, tmp_path, checkpoint_url=f"s3://ballast/{tmp_path.name}", **OFTEN)


@pytest.fixture
def files(settings: Settings) -> Files:
    with closing(Store(settings.database_url)) as store:
        return files_of(settings, store)


def killed_with_two_checkpoints(crew: Crew) -> int:
    (number,) = crew.submit_all([RUN])
    wait_until(lambda: len(crew.pointers(number)) == 2 and crew.pointers(number)[1].epoch > 0)
    assert crew.kill(crew.experiment(number)) is not None
    return number


def test_who_takes_over_goes_on_from_an_object_with_the_same_bits(
    settings: Settings, files: Files, undisturbed: list[EpochResult], summarize: Summarize
) -> None:
    with at_work(Crew(settings, 1)) as crew:
        number = killed_with_two_checkpoints(crew)
        newest = crew.pointers(number)[0]
        done = crew.experiment(number).epochs_done
        crew.wait_for_end(number)
        is_whole(crew, number, undisturbed)
        (resumed,) = [event.detail for event in crew.events(number) if event.kind == "resumed"]
        assert resumed == f"after epoch {newest.epoch}, step {newest.step}, of attempt 1"
        assert {each.path for each in files.everything()} == {each.path for each in crew.pointers(number)}
    summarize("killed, checkpoints in S3", trials=1, twice=done - newest.epoch)


def flip_a_bit(files: Files, path: str) -> None:
    """By what another program might do to an object."""
    import s3fs

    system = s3fs.S3FileSystem()
    place = f"{files.url}/{path}"
    content = bytearray(system.cat_file(place))
    content[len(content) // 2] ^= 1
    system.pipe_file(place, bytes(content))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (flip_a_bit, "checkpoint_damaged"),
        (lambda files, path: files.remove([path]), "checkpoint_unreachable"),
    ],
)
def test_an_object_that_is_damaged_or_gone_gives_way_to_the_one_before(
    harm: Callable[[Files, str], None],
    said: str,
    settings: Settings,
    files: Files,
    undisturbed: list[EpochResult],
    summarize: Summarize,
) -> None:
    with at_work(Crew(settings, 1)) as crew:
        number = killed_with_two_checkpoints(crew)
        newest, older = crew.pointers(number)
        harm(files, newest.path)
        crew.wait_for_end(number)
        is_whole(crew, number, undisturbed)
        assert crew.kinds(number)[-4:] == ["claimed", said, "resumed", "succeeded"]
        (resumed,) = [event.detail for event in crew.events(number) if event.kind == "resumed"]
        assert resumed == f"after epoch {older.epoch}, step {older.step}, of attempt 1"
    summarize(f"{said.replace('_', ' ')}, in S3", trials=1)


def test_what_is_deleted_or_collected_takes_its_objects_along(settings: Settings, files: Files) -> None:
    with at_work(Crew(settings, 1)) as crew:
        first, second = crew.submit_all([DIGITS, DIGITS])
        for number in (first, second):
            crew.wait_for_end(number)
        assert {each.experiment_id for each in files.everything()} == {first, second}
        with crew.store.writing() as tx:
            folders = experiments.remove(tx, first)
        tidy(crew.store, files, folders)
        assert {each.experiment_id for each in files.everything()} == {second}
        assert collect(crew.store, files, 0, dry_run=False).checkpoints.files >= 1
        assert files.everything() == []


def test_with_the_server_away_training_goes_on_and_says_so(
    s3: S3, settings: Settings, files: Files, undisturbed: list[EpochResult], summarize: Summarize
) -> None:
    with at_work(Crew(settings, 1)) as crew:
        (number,) = crew.submit_all([RUN])
        wait_until(lambda: len(crew.pointers(number)) == 2)
        s3.stop()
        try:
            with pytest.raises(CheckpointUnreachable, match=r"cannot be reached below s3://ballast/"):
                files.check()
            crew.wait_for_end(number)
        finally:
            s3.start()
        is_whole(crew, number, undisturbed)
        assert "checkpoint_failed" in crew.kinds(number)
        assert "lease_lost" not in crew.kinds(number)
    summarize("S3 away", trials=1)
