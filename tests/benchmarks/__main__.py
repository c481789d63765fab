"""`python -m tests.benchmarks [SUBJECT …]`: measure, print a table, exit 1 if a promise is broken."""

import argparse
import sys

from tests.benchmarks import commands, curves, effects, hosts, imports, latency, lists, outages, overhead, start
from tests.benchmarks.harness import report
from tests.benchmarks.training import study

SUBJECTS = {
    "imports": imports.measure,
    "commands": commands.measure,
    "latency": latency.measure,
    "start": start.measure,
    "outages": outages.measure,
    "training": study.measure,
    "curves": curves.measure,
    "effects": effects.measure,
    "lists": lists.measure,
    "overhead": overhead.measure,
    "hosts": hosts.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}; all by default")
    chosen = parser.parse_args().subjects or list(SUBJECTS)
    unknown = [name for name in chosen if name not in SUBJECTS]
    if unknown:
        parser.error(f"no such subject: {', '.join(unknown)}")
    sys.exit(0 if report([SUBJECTS[name] for name in chosen]) else 1)


if __name__ == "__main__":
    main()
