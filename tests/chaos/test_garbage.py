"""`ballast gc` again and again beside a service that trains, is killed, extends and deletes: no file goes that is
needed, and no bit comes out otherwise.
"""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from core.opening import files_of
from core.settings import Settings
from core.spec import Spec
from core.states import ENDED, State
from core.store import experiments, extensions
from core.store.errors import NotAllowed
from core.store.files import tidy
from core.store.garbage import collect
from core.store.session import Store
from tests.chaos.conftest import Chance, Summarize
from tests.chaos.crew import Crew, at_work
from tests.chaos.trials import is_whole, undisturbed
from tests.integration.hosts import DIGITS, settings_of
from tests.servers import wait_until

pytestmark = pytest.mark.slow

OFTEN = {"heartbeat_seconds": 0.3, "lease_seconds": 2, "checkpoint_seconds": 0.2}
RUNS: list[dict[str, Any]] = [
    DIGITS | {"epochs": 60},
    DIGITS | {"model": {"name": "cnn", "width": 4, "dropout": 0.5}, "epochs": 5},
    DIGITS | {"epochs": 40, "seed": 1},
]


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "postgresql":
        url = request.getfixturevalue("database_of_its_own")
    else:
        file = tmp_path / "ballast.db"
        file.write_bytes(request.getfixturevalue("template").read_bytes())
        url = f"sqlite:///{file}"
    return settings_of(tmp_path / "home", database_url=url, **OFTEN)


@contextmanager
def collecting(settings: Settings, chance: Chance) -> Iterator[list[int]]:
    """All the time, of whatever age; now and then also what has only just ended. Yields how many files went, so far."""
    removed: list[int] = []
    stop = threading.Event()

    def loop() -> None:
        with closing(Store(settings.database_url)) as store:
            files = files_of(settings, store)
            while not stop.is_set():
                days = 0 if chance.random() < 0.2 else 30
                found = collect(store, files, days, dry_run=False, safe_age_s=-1)
                removed.append(found.checkpoints.files + found.orphans.files)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield removed
    finally:
        stop.set()
        thread.join()


def test_collected_again_and_again_nothing_is_lost_and_no_bit_is_wrong(
    settings: Settings, chance: Chance, summarize: Summarize
) -> None:
    kills = extended = 0
    with at_work(Crew(settings, 2)) as crew, collecting(settings, chance) as removed:
        wanted = dict(zip(crew.submit_all(RUNS * 3), RUNS * 3, strict=True))
        asked: set[int] = set()
        while left := [number for number in wanted if number not in asked]:
            wait_until(lambda: any(crew.experiment(each).state in ENDED for each in left))
            number = chance.choice([each for each in left if crew.experiment(each).state in ENDED])
            if chance.random() < 0.5 and (running := crew.running()):
                kills += crew.kill(chance.choice(running)) is not None
            asked.add(number)
            longer = wanted[number] | {"epochs": wanted[number]["epochs"] + 10}
            with suppress(NotAllowed), crew.store.writing() as tx:  # it is too late
                child = extensions.extend(tx, number, longer["epochs"]).id
                extended += 1
                wanted[child] = longer
                asked.add(child)  # once is enough
            if chance.random() < 0.3:
                delete(crew, settings, number)
                del wanted[number]
        for number, fields in wanted.items():
            assert crew.wait_for_end(number).state is State.SUCCEEDED
            spec = Spec.model_validate(fields)
            is_whole(crew, number, undisturbed(spec, settings.data_dir, settings.locks_dir))
            assert not {"checkpoint_unreachable", "checkpoint_damaged"} & set(crew.kinds(number))
    assert sum(removed) > 0
    details = [f"{len(removed)} collections of {sum(removed)} files beside {kills} kills and {extended} extensions"]
    summarize("collected beside a service", trials=len(removed), seed=chance.number, details=details)


def delete(crew: Crew, settings: Settings, number: int) -> None:
    with crew.store.writing() as tx:
        folders = experiments.remove(tx, number)
    tidy(crew.store, files_of(settings, crew.store), folders)
