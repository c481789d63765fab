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


def kept() -> Json:
    """What was measured last."""
    measured: Json = json.loads(KEPT.read_text())
    return measured


def table(kept: Json) -> str:
    """Markdown."""
    lines = [
        f"*Medians of {kept['rounds']} rounds that took turns: {kept['processor']}, {kept['cores']} cores, torch "
        f"{kept['torch']}, {kept['date']}.*",
        "",
        "| network | precision | Ballast, one core | tight loop | script, one thread | Ballast, all cores | script |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, subject in kept["subjects"].items():
        took = {(lane["rival"], lane["precision"], _on_all(lane)): lane["median_seconds"] for lane in subject["lanes"]}
        images = subject["images"]["train"]
        for precision in [each for rival, each, on_all in took if rival == "ours" and on_all]:
            ours, all_cores = took["ours", precision, False], took["ours", precision, True]
            cells = [
                f"{images / ours:.0f}",
                _against(images, took["tight", precision, False], ours),
                _against(images, took["script", "fp32", False], ours),
                f"{images / all_cores:.0f}",
                _against(images, took["script", "fp32", True], all_cores),
            ]
            lines.append(f"| {name} | {precision} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _on_all(lane: Json) -> bool:
    """Whether it takes all cores: by a process on each, or by as many threads as torch takes by itself."""
    return bool(lane["processes"] > 1 or not lane["threads"])


def _against(images: int, rival: float, ours: float) -> str:
    """By seconds an epoch."""
    return f"{images / rival:.0f} ({rival / ours:.2f}×)"


def with_table(page: str, kept: Json) -> str:
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
