"""What a kernel tells of its processor: recorded from /proc/cpuinfo, the lines that matter."""

import platform
from pathlib import Path

import pytest

from core import processor
from core.processor import Facts, facts_of

SAPPHIRE_RAPIDS = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu vme sse sse2 avx2 avx512f avx512bw avx512_bf16 avx512_fp16 amx_bf16 amx_tile amx_int8

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
SKYLAKE = """processor\t: 0
model name\t: Intel(R) Xeon(R) CPU @ 2.00GHz
flags\t\t: fpu vme sse sse2 fma avx2 avx512f avx512dq avx512cd avx512bw avx512vl
bugs\t\t: spectre_v1 avx512_bf16_erratum
"""
ZEN_4 = """processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 9B14
flags\t\t: fpu sse2 avx2 avx512f avx512_bf16 avx512_vnni
"""
ZEN_4_WITHOUT = ZEN_4.replace("avx512_bf16 ", "")
GRAVITON_3 = """processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd evtstrm aes crc32 fphp asimdhp svei8mm svebf16 i8mm bf16 dgh rng
CPU implementer\t: 0x41
"""
GRAVITON_2 = """processor\t: 0
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp
"""


@pytest.mark.parametrize(
    ("cpuinfo", "facts"),
    [
        (SAPPHIRE_RAPIDS, Facts("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", True)),
        (SAPPHIRE_RAPIDS.replace("avx512_bf16", ""), Facts("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", True)),
        (SKYLAKE, Facts("Intel(R) Xeon(R) CPU @ 2.00GHz", False)),
        (ZEN_4, Facts("AMD EPYC 9B14", True)),
        (ZEN_4_WITHOUT, Facts("AMD EPYC 9B14", False)),
        (GRAVITON_3, Facts(None, True)),
        (GRAVITON_2, Facts(None, False)),
        ("", Facts(None, None)),
        ("no colon\n: no key\n", Facts(None, None)),
    ],
)
def test_what_a_kernel_tells_is_understood(cpuinfo: str, facts: Facts) -> None:
    assert facts_of(cpuinfo) == facts


def test_this_hosts_processor_is_what_its_kernel_tells() -> None:
    text = Path("/proc/cpuinfo").read_text()
    assert processor.name()
    assert processor.name() in text or processor.name() in (platform.processor(), platform.machine())
    assert bool(processor.computes_bf16()) == any(flag in text.split() for flag in ("avx512_bf16", "amx_bf16", "bf16"))
