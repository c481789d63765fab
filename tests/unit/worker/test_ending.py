"""What ends a worker process ends it in one place, with a status that says why."""

from pathlib import Path

import worker
from worker import ending


def test_only_one_place_ends_the_process_in_the_middle_of_it() -> None:
    """And `__main__`, which may be interrupted before it has imported anything."""
    files = Path(worker.__path__[0]).glob("*.py")
    assert {file.name for file in files if "os._exit(" in file.read_text()} == {"ending.py", "__main__.py"}


def test_each_status_says_one_thing_and_none_says_that_all_is_well() -> None:
    statuses = [value for name, value in vars(ending).items() if name.isupper()]
    assert len(statuses) == len(set(statuses)) == 4
    assert 0 not in statuses
