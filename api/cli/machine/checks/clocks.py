"""Clocks of other hosts beside this one's."""

import time

from api.cli.machine.checks.finding import Finding

_CLOCKS_APART = 2.0  # seconds: a lease is 20


def compare_clock(name: str, seconds: float) -> Finding:
    """`seconds` since 1970, as the other clock has them."""
    apart = seconds - time.time()
    if abs(apart) <= _CLOCKS_APART:
        return Finding(name, "ok", f"within {_CLOCKS_APART:g} s of this host's")
    found = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} this host's"
    return Finding(name, "warning", found, "let both hosts keep time by NTP: times in lists are the database's")
