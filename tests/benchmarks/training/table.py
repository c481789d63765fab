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
        f"Images trained a second, evaluation of as many test images included, and in brackets how many times as fast "
        f"Ballast is: medians of {kept['rounds']} rounds that took turns, {kept['processor']}, {kept['cores']} cores, "
        f"torch {kept['torch']}, {kept['date']}. Of the script, the fastest epoch of any of its ways. Ballast uses "
        "all cores by an experiment on each.",
        "",
        "| network | precision | Ballast, one core | tight loop | script, one thread | Ballast, all cores | script |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, subject in kept["subjects"].items():
        images, ways = subject["images"]["train"], subject["ways_of_the_script"]
        alone = {(lane["rival"], lane["precision"]): lane for lane in subject["lanes"] if lane["processes"] == 1}
        together = {lane["precision"]: lane for lane in subject["lanes"] if lane["processes"] > 1}
        for precision, all_cores in together.items():
            ours, tight = alone["ours", precision]["median_seconds"], alone["tight", precision]["median_seconds"]
            rivals = [(each, ours) for each in (tight, _fastest(ways, 1))]
            on_all = all_cores["median_seconds"]
            cells = [f"{images / ours:.0f}", *(_against(images, *each) for each in rivals)]
            cells += [f"{images / on_all:.0f}", _against(images, _fastest(ways, 0), on_all)]
            lines.append(f"| {name} | {precision} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _against(images: int, rival: float, ours: float) -> str:
    """By seconds an epoch."""
    return f"{images / rival:.0f} ({rival / ours:.2f}×)"


def _fastest(ways: list[Json], threads: int) -> float:
    """Seconds of the script's fastest epoch, with the DataLoader's workers or without: so few were run that a median
    would be chance, and its best is no flattery of ours. Of threads 0 are as many as torch takes."""
    return min(min(map(float, way["seconds"])) for way in ways if way["threads"] == threads)


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
