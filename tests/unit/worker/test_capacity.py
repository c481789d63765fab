"""How many processes a host bears: by its cores, by its memory, and by what a container leaves of both."""

import math
import os
from pathlib import Path

import psutil
import pytest

from worker.capacity import PROCESS_BYTES, Capacity, capacity, room_in

GIB = 2**30


@pytest.mark.parametrize(
    ("cores", "available", "processes", "words"),
    [
        (8, 64 * GIB, 8, "a worker process for each of 8 cores"),
        (2, 2 * PROCESS_BYTES, 2, "a worker process for each of 2 cores"),
        (1, 64 * GIB, 1, "a worker process for the one core"),
        (16, 2.4 * GIB, 3, "3 worker processes: 16 cores, and memory for 3 (2.4 GiB available, 0.75 GiB each)"),
        (2, 0.8 * GIB, 1, "1 worker process: 2 cores, and memory for 1 (0.8 GiB available, 0.75 GiB each)"),
        (1, 0, 1, "a worker process for the one core"),
    ],
)
def test_a_process_a_core_as_memory_allows(cores: int, available: float, processes: int, words: str) -> None:
    found = Capacity(cores, int(available))
    assert found.processes == processes
    assert str(found) == words


def test_where_there_is_memory_for_none_one_is_tried_and_nothing_else_is_claimed() -> None:
    found = Capacity(4, GIB // 4)
    assert found.processes == 1
    assert str(found) == "1 worker process: 4 cores, and memory for less than one (0.2 GiB available, 0.75 GiB each)"


def written(folder: Path, **texts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{text}\n")


def v2(folder: Path, limit: str, used: int, files: int) -> None:
    written(folder, memory_max=limit, memory_current=str(used), memory_stat=f"anon 1\ninactive_file {files}")


def v1(folder: Path, limit: int, used: int, files: int) -> None:
    stat = f"inactive_file 1\ntotal_inactive_file {files}"
    written(folder, memory_limit_in_bytes=str(limit), memory_usage_in_bytes=str(used), memory_stat=stat)


def test_a_container_leaves_what_its_limit_and_all_above_leave(tmp_path: Path) -> None:
    v2(tmp_path / "job", str(4 * GIB), 3 * GIB, 0)
    v2(tmp_path / "job" / "step", "max", 2 * GIB, 0)
    assert room_in("0::/job/step\n", tmp_path) == GIB
    v2(tmp_path / "job" / "step", str(2 * GIB), 2 * GIB - 7, 5)  # files can be pushed out
    assert room_in("0::/job/step\n", tmp_path) == 12
    v2(tmp_path / "job" / "step", str(GIB), 2 * GIB, 0)  # lowered below what is used
    assert room_in("0::/job/step\n", tmp_path) == 0


def test_a_container_that_is_its_own_root_is_found_there(tmp_path: Path) -> None:
    v2(tmp_path, str(2 * GIB), GIB, 0)
    assert room_in("0::/\n", tmp_path) == GIB
    assert room_in("0::/docker/as-the-host-sees-it\n", tmp_path) == GIB


def test_version_1_too(tmp_path: Path) -> None:
    v1(tmp_path / "memory", 9223372036854771712, 5 * GIB, 0)  # its way to say that there is no limit
    v1(tmp_path / "memory" / "slurm" / "job_7", 3 * GIB, GIB, GIB // 2)
    lines = "5:devices:/\n4:memory:/slurm/job_7\n1:cpu,cpuacct:/\n0::/\n"
    assert room_in(lines, tmp_path) == 2.5 * GIB
    assert room_in("4:memory:/\n", tmp_path) > 2**60


@pytest.mark.parametrize("cgroups", ["", "0::/\n", "3:cpuset:/\n", "0::/../..\n"])
def test_where_nothing_limits_there_is_no_limit(cgroups: str, tmp_path: Path) -> None:
    assert room_in(cgroups, tmp_path / "mounted") == math.inf


def test_this_host_has_some_of_both() -> None:
    found = capacity()
    assert 1 <= found.cores <= len(os.sched_getaffinity(0))
    assert 0 < found.available <= psutil.virtual_memory().total
