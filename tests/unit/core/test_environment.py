"""What was set for other programs is forgotten, and what a user means for the machine is kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery

from core.broker.doorbell import celery_app, folder_options
from core.environment import KEPT_MEMORY, environment_for_child, remove_foreign_variables
from core.settings import load_settings

FOREIGN = (
    *("CELERY_BROKER_URL", "CELERYD_POOL", "C_FORCE_ROOT", "C_STRICT_APP", "REMAP_SIGTERM", "KOMBU_LOG_DEBUG"),
    *("PICKLE_PROTOCOL", "AUTOSCALE_KEEPALIVE", "_MP_FORK_LOGLEVEL_", "DJANGO_SETTINGS_MODULE", "PSYCOPG_IMPL"),
    *("FASTAPI_ENV", "UVICORN_HOST", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "MPLBACKEND", "OMP_DYNAMIC"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "NVIDIA_TF32_OVERRIDE", "PYTHONWARNINGS", "PYTHONINSPECT", "TERMINAL_WIDTH"),
    *("LOKY_MAX_CPU_COUNT", "JOBLIB_MULTIPROCESSING"),
)
THE_USERS = (
    *("PATH", "HOME", "LANG", "TERM", "COLUMNS", "NO_COLOR", "FORCE_COLOR", "PGPASSWORD", "PGSSLMODE", "PGPASSFILE"),
    *("HTTPS_PROXY", "SSL_CERT_FILE", "AWS_ACCESS_KEY_ID", "FSSPEC_S3_KEY", "CUDA_VISIBLE_DEVICES", "TMPDIR"),
    *(
        "ATEN_CPU_CAPABILITY",
        "ONEDNN_MAX_CPU_ISA",
        "OMP_PROC_BIND",
        "PYTHONIOENCODING",
        "MPLCONFIGDIR",
        "C_INCLUDE_PATH",
        "GLIBC_TUNABLES",
        "MALLOC_ARENA_MAX",
        "LD_PRELOAD",
    ),
    *("BALLAST_HOME", "_BALLAST_COMPLETE"),
)


def test_what_was_set_for_others_is_forgotten_and_what_a_user_means_is_kept() -> None:
    environment = dict.fromkeys((*FOREIGN, *THE_USERS), "x")
    remove_foreign_variables(environment)
    assert set(environment) == set(THE_USERS)


def test_a_child_finds_our_packages_before_those_of_pythonpath() -> None:
    root = str(Path(__file__).parents[3])
    assert "PYTHONPATH" not in environment_for_child({})
    child = environment_for_child({"PYTHONPATH": f"/theirs{os.pathsep}/others"})
    assert child["PYTHONPATH"].split(os.pathsep) == [root, "/theirs", "/others"]
    assert environment_for_child(child) == child


MMAPS = """
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
at = libc.malloc(ctypes.c_size_t(20 * 2**20))
heap = next(line.split()[0].split("-") for line in open("/proc/self/maps") if "[heap]" in line)
print(int(heap[0], 16) <= at < int(heap[1], 16))
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="no glibc here")
def test_a_child_keeps_large_blocks_in_its_heap_and_so_does_a_child_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which glibc decides as it starts."""
    for name in ("GLIBC_TUNABLES", "LD_PRELOAD", *(name for name in os.environ if name.startswith("MALLOC_"))):
        monkeypatch.delenv(name, raising=False)
    child = load_settings().child_environment()
    assert child["GLIBC_TUNABLES"] == KEPT_MEMORY
    assert environment_for_child(child) == child
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {MMAPS!r}], check=True)"
    for program in (MMAPS, nested):
        for environment, kept in ((child, "True"), (child | {"GLIBC_TUNABLES": ""}, "False")):
            command = [sys.executable, "-c", program]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            assert done.stdout.strip() == kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GLIBC_TUNABLES", "glibc.malloc.arena_max=1"),
        ("GLIBC_TUNABLES", ""),  # how it is switched off
        ("MALLOC_ARENA_MAX", "2"),
        ("MALLOC_TRIM_THRESHOLD_", "100000"),
        ("MALLOC_CONF", "narenas:1"),
        ("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"),
        ("LD_PRELOAD", "/usr/lib/libtcmalloc_minimal.so.4"),
    ],
)
def test_what_a_user_says_of_allocators_stays(name: str, value: str) -> None:
    assert environment_for_child({name: value}) == {name: value}


def test_what_is_preloaded_and_no_allocator_is_none() -> None:
    preloaded = {"LD_PRELOAD": "/usr/lib/libfaketime.so.1"}
    assert environment_for_child(preloaded) == environment_for_child({}) | preloaded


@pytest.mark.parametrize("libc", [None, "", ValueError(), OSError()])
def test_where_there_is_no_glibc_nothing_is_said_to_it(
    libc: str | Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS does not know the name; musl does, and no value."""

    def confstr(_name: str) -> str | None:
        if isinstance(libc, Exception):
            raise libc
        return libc

    monkeypatch.setattr(os, "confstr", confstr)
    assert environment_for_child({}) == {}


def test_a_childs_settings_are_not_those_of_a_variable_in_small_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(port=4321)
    monkeypatch.setenv("ballast_port", "1234")
    assert "ballast_port" not in settings.child_environment()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Celery:
    """Of the doorbell, in a process that has forgotten nothing."""
    for name in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"):
        monkeypatch.setenv(name, "amqp://nowhere")
    for name in ("CELERY_LOADER", "CELERY_CONFIG_MODULE", "CELERY_RESULT_BACKEND", "DJANGO_SETTINGS_MODULE"):
        monkeypatch.setenv(name, "nonsense")
    settings = load_settings(home=tmp_path, broker_url="", database_url="")
    return celery_app(settings, "test", folder_options(settings))


def test_the_doorbell_goes_to_our_broker_also_where_celery_prefers_another(app: Celery, tmp_path: Path) -> None:
    for connection in (app.connection_for_read(), app.connection_for_write()):
        with connection:
            assert Path(connection.default_channel.data_folder_out) == tmp_path / "queue" / "messages"
    assert type(app.backend).__name__ == "DisabledBackend"
    app.close()


def test_a_figure_is_drawn_where_a_notebook_has_chosen_a_backend(tmp_path: Path) -> None:
    program = "from pathlib import Path; from core.analysis.figures import draw; draw([], 't', Path('f.png'), 'png')"
    backend = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | backend | {"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "f.png").stat().st_size > 1000
