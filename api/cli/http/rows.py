"""An experiment, or a sweep, on a line of a table: what a person asks of it. `--json` has the rest."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from api.cli.printing import duration, fraction, in_words, print_table

Json = dict[str, Any]


def print_experiments(found: Sequence[Json], *, of_one_sweep: bool = False) -> None:
    """Of a sweep: what differs within it, instead of what all of it shares."""
    columns = {
        "id": [each["id"] for each in found],
        "state": [state_of(each) for each in found],
        "weight": [each["spec"]["importance_weight"] for each in found],
        "seed": [each["spec"]["seed"] for each in found],
        "epochs": [f"{each['epochs_done']}/{each['epochs_total']}" for each in found],
        "base in": [last_fraction(each, "base_fraction_in_domain") for each in found],
        "base out": [last_fraction(each, "base_fraction_out_of_domain") for each in found],
        "took": [_took_or_left(each) for each in found],
        "error": [each["error"] and each["error"]["kind"] for each in found],
        "started": [short_time(each["started_at"]) for each in found],
        **(_differing(found) if of_one_sweep else _naming(found)),
    }
    print_table(list(columns), zip(*columns.values(), strict=True), one_line=True)


def _differing(found: Sequence[Json]) -> dict[str, list[Any]]:
    from core.analysis.groups import differences  # the spec's models take a while to build

    return {"what differs": differences([each["spec"] for each in found])}


def _naming(found: Sequence[Json]) -> dict[str, list[Any]]:
    return {
        "data set": [each["spec"]["dataset"]["name"] for each in found],
        "model": [each["spec"]["model"]["name"] for each in found],
        "name": [each["name"] for each in found],
    }


def print_sweeps(found: Sequence[Json]) -> None:
    print_table(
        ("id", "name", "experiments", "epochs", "made", "time left"),
        (
            (
                each["id"],
                each["name"] or each["preset"] or "",
                in_words(each["counts"]),
                f"{each['epochs_done']}/{each['epochs_total']}",
                short_time(each["created_at"]),
                duration(each["eta_seconds"]),
            )
            for each in found
        ),
    )


def _took_or_left(experiment: Json) -> str:
    left = experiment["eta_seconds"]
    return duration(took_seconds(experiment)) if left is None else f"{duration(left)} left"


def state_of(experiment: Json) -> str:
    return "stalled" if experiment["stalled"] else str(experiment["state"])


def last_fraction(experiment: Json, which: str) -> str:
    """Of the last row; "–" before the first, and where nothing finite was measured."""
    return fraction((experiment["last_row"] or {}).get(which))


def took_seconds(experiment: Json) -> float | None:
    """From its first claim to its end, waiting for another worker included; None before."""
    if experiment["started_at"] is None or experiment["ended_at"] is None:
        return None
    took: timedelta = _time(experiment["ended_at"]) - _time(experiment["started_at"])
    return took.total_seconds()


def local_time(at: str | None) -> str | None:
    """RFC 3339 as the clock on the wall, to the minute."""
    return None if at is None else _time(at).astimezone().strftime("%Y-%m-%d %H:%M")


def short_time(at: str | None) -> str | None:
    """The same without the year, for a line that has little room."""
    return None if at is None else _time(at).astimezone().strftime("%d %b %H:%M")


def _time(at: str) -> datetime:
    return datetime.fromisoformat(at)
