"""The README's table of speed, made of the committed JSON, and put between its markers.

python -m tests.benchmarks.training.table
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
KEPT = ROOT / "tests" / "benchmarks" / "results" / "training.json"
BEGIN, END = "<!-- speed: python -m tests.benchmarks.training.table -->", "<!-- end of speed -->"

Json = dict[str, Any]


def kept() -> Json | None:
    """What was measured last; None: nothing yet."""
    measured: Json | None = json.loads(KEPT.read_text()) if KEPT.exists() else None
    return measured


def table(kept: Json | None) -> str:
    """Markdown."""
    if kept is None:
        return "Not measured yet: `make bench-train`."
    lines = [
        f"Images trained a second, one process, evaluation of as many test images included: medians of "
        f"{kept['rounds']} rounds that took turns, {kept['processor']}, {kept['cores']} cores, torch {kept['torch']}, "
        f"{kept['date']}.",
        "",
        "| network | precision | Ballast | tight loop, same precision | a script with a `DataLoader`, fp32 |",
        "|---|---|---|---|---|",
    ]
    for name, subject in kept["subjects"].items():
        took = {(lane["rival"], lane["precision"]): lane["median_seconds"] for lane in subject["lanes"]}
        images = subject["images"]["train"]
        script = took["script", "fp32"]
        for precision in [precision for rival, precision in took if rival == "ours"]:
            ours, tight = took["ours", precision], took["tight", precision]
            rivals = " | ".join(f"{images / each:.0f} ({each / ours:.2f}×)" for each in (tight, script))
            lines.append(f"| {name} | {precision} | {images / ours:.0f} | {rivals} |")
    return "\n".join(lines)


def with_table(page: str, kept: Json | None) -> str:
    """The page with the table between its markers. Raises ValueError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{table(kept)}\n{END}{after}"


def main() -> None:
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(), kept()))


if __name__ == "__main__":
    main()
