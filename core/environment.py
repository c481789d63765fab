"""Whose variables are obeyed: ours (core.settings), and what a user means for the machine: terminal and locale, proxies
and certificates, libpq's PG…, AWS_… and FSSPEC_…, CUDA's, and which kernels the processor runs.

Those of other libraries are removed before these are imported. They were set for another program, and would choose
our broker, crash an import, or change the bits of a curve, behind `BALLAST_*`. Arguments say it better where a library
takes one, and there they do; most of these are read where none can be given.
"""

import os
import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path

# glibc's allocator gives large blocks back to the kernel at once, and training asks for the same ones at every step:
# each page is zeroed and mapped anew. So nothing is given back, and memory comes in large pieces. (More than 32 MiB for
# a block, older versions refuse, and then take 128 KiB.) It is read when a program starts, and never later
# (deploy/README.md, "Settings").
KEPT_MEMORY = ":".join(
    f"glibc.malloc.{name}={mebibytes * 2**20}"
    for name, mebibytes in {"mmap_threshold": 32, "trim_threshold": 1024, "top_pad": 64}.items()
)

_HERE = str(Path(__file__).parents[1])
_FOREIGN = re.compile(
    r"CELERY\w*|C_(FORCE_ROOT|STRICT_APP|WARN_APP|IMPDEBUG|FAKEFORK|REMDEBUG|WNOCONF|BENCH\w*)|REMAP_SIGTERM"
    r"|KOMBU_\w+|PICKLE_PROTOCOL|DISABLE_TRACEBACKS|TIMER_DEBUG|AUTOSCALE_KEEPALIVE|NOSETPS|EVENTLET_NOBLOCK"
    r"|_?MP_\w+|FORKED_BY_MULTIPROCESSING|MULTIPROCESSING_FORKING_DISABLE|DJANGO_SETTINGS_MODULE"  # billiard
    r"|PSYCOPG_\w+|PYDANTIC_\w+|FASTAPI_\w+|UVICORN_\w+|WEB_CONCURRENCY|FORWARDED_ALLOW_IPS|TYPER_\w+|TERMINAL_WIDTH"
    r"|MPLBACKEND|MATPLOTLIBRC|JOBLIB_\w+|LOKY_\w+"
    r"|OMP_(NUM_THREADS|THREAD_LIMIT|DYNAMIC)|MKL_(NUM_THREADS|DYNAMIC)|(ONEDNN|DNNL)_DEFAULT_FPMATH_MODE"
    r"|NVIDIA_TF32_OVERRIDE|TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"  # a precision that the spec does not say
    r"|PYTHON(WARNINGS|INSPECT|ASYNCIODEBUG)"
)

_ALLOCATOR = re.compile(r"GLIBC_TUNABLES|MALLOC_\w+")


def remove_foreign_variables(environment: MutableMapping[str, str] = os.environ) -> None:
    """In place."""
    for name in filter(_FOREIGN.fullmatch, list(environment)):
        del environment[name]


def environment_for_child(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy without what was set for others, with our packages before those of the same names in PYTHONPATH, and with
    an allocator that keeps its memory, unless its user has said something of allocators."""
    child = dict(environment)
    remove_foreign_variables(child)
    if _has_glibc() and not _chooses_allocator(child):
        child["GLIBC_TUNABLES"] = KEPT_MEMORY
    if places := child.get("PYTHONPATH"):
        child["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([_HERE, *places.split(os.pathsep)]))
    return child


def _has_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (ValueError, OSError):  # of another library, which does not know the name, or knows it alone
        return False


def _chooses_allocator(environment: Mapping[str, str]) -> bool:
    """With glibc's own variables, empty ones too, or with another allocator in its place."""
    return any(map(_ALLOCATOR.fullmatch, environment)) or "alloc" in environment.get("LD_PRELOAD", "")
