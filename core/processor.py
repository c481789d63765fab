"""The processor of this host, as its kernel tells it: what it is called, and whether it computes in bf16. What torch
makes of it is not for here: this imports no torch.
"""

import functools
import platform
from pathlib import Path
from typing import NamedTuple

# Intel's and AMD's flags, and ARM's. Where there is none of them, oneDNN computes bf16 in fp32 and converts.
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}

# Three convolutions of a cnn, forth and back, took four times as long as in fp32 with AVX-512, ten times with AVX2.
SLOW_BF16 = "this processor does not compute in bf16, which is several times slower here than fp32"


class Facts(NamedTuple):
    name: str | None
    computes_bf16: bool | None


def name() -> str:
    """The model, which only the kernel tells on Linux."""
    model = _facts().name
    return platform.processor() or platform.machine() if model is None else model


def computes_bf16() -> bool | None:
    """Whether it multiplies bf16 itself (AVX512-BF16, AMX, or ARM's BF16). None where that is not known."""
    return _facts().computes_bf16


def facts_of(cpuinfo: str) -> Facts:
    """What /proc/cpuinfo says of the first processor that has a line of each."""
    values: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        values.setdefault(key.strip(), value.strip())
    flags = f"{values.get('flags', '')} {values.get('Features', '')}".split()
    return Facts(values.get("model name"), not _BF16.isdisjoint(flags) if flags else None)


@functools.cache
def _facts() -> Facts:
    try:
        return facts_of(Path("/proc/cpuinfo").read_text(errors="replace"))
    except OSError:
        return Facts(None, None)
