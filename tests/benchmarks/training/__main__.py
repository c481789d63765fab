"""`python -m tests.benchmarks.training [SUBJECT …]`: Ballast against the loops that people write, and what the service
costs. All of it on two idle cores in some twelve minutes, and kept, as JSON and in README's table; a part is only
printed."""

import argparse
import json
import sys
from typing import Any

from tests.benchmarks.harness import report
from tests.benchmarks.training import table
from tests.benchmarks.training.study import measure_all
from tests.benchmarks.training.subjects import ALL, BY_NAME
from tests.benchmarks.training.table import KEPT, ROOT


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.training", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(BY_NAME)}; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    unknown = [name for name in options.subjects if name not in BY_NAME]
    if unknown:
        parser.error(f"no such subject: {', '.join(unknown)}")
    chosen = [BY_NAME[name] for name in options.subjects] or list(ALL)
    kept: dict[str, Any] = {}
    holds = report([lambda: measure_all(chosen, options.rounds, kept)])
    if len(chosen) == len(ALL):
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
        table.main()
        print(f"\nkept in {KEPT.relative_to(ROOT)}, and in the table of README.md")
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
