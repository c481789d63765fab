"""Tables of experiments and of sweeps: what a person asks of each, on a line. `--json` has the rest."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from api.cli.printing import counts_in_words, duration, fraction, print_table
from core.fit import FIT_IN_WORDS

Json = dict[str, Any]


def print_experiments(experiments: Sequence[Json], *, of_one_sweep: bool = False) -> None:
    """Of a sweep: what differs within it, instead of what all of it shares."""
    columns = {
        "id": [each["id"] for each in experiments],
        "state": [displayed_state(each) for each in experiments],
        "weight": [each["spec"]["importance_weight"] for each in experiments],
        "seed": [each["spec"]["seed"] for each in experiments],
        "epochs": [f"{each['epochs_done']}/{each['epochs_total']}" for each in experiments],
        "base in": [fraction_in_last_row(each, "base_fraction_in_domain") for each in experiments],
        "base out": [fraction_in_last_row(each, "base_fraction_out_of_domain") for each in experiments],
        "network": [fit_in_words(each) for each in experiments],
        "took": [_time_taken_or_left(each) for each in experiments],
        "error": [each["error"] and each["error"]["kind"] for each in experiments],
        "started": [short_local_time(each["started_at"]) for each in experiments],
        **(_difference_columns(experiments) if of_one_sweep else _name_columns(experiments)),
    }
    print_table(list(columns), zip(*columns.values(), strict=True), one_line=True)


def _difference_columns(experiments: Sequence[Json]) -> dict[str, list[Any]]:
    from core.analysis.groups import differences_in_words  # the spec's models take a while to build

    return {"what differs": differences_in_words([each["spec"] for each in experiments])}


def _name_columns(experiments: Sequence[Json]) -> dict[str, list[Any]]:
    return {
        "data set": [each["spec"]["dataset"]["name"] for each in experiments],
        "model": [each["spec"]["model"]["name"] for each in experiments],
        "name": [each["name"] for each in experiments],
    }


def print_sweeps(sweeps: Sequence[Json]) -> None:
    print_table(
        ("id", "name", "experiments", "epochs", "made", "time left"),
        (
            (
                each["id"],
                sweep_name(each),
                counts_in_words(each["counts"]),
                f"{each['epochs_done']}/{each['epochs_total']}",
                short_local_time(each["created_at"]),
                duration(each["eta_seconds"]),
            )
            for each in sweeps
        ),
    )


def sweep_name(sweep: Json) -> str:
    """As its user calls it, or the preset; and the sweep that it goes on from."""
    extends = f"extends sweep {sweep['extends']}" if sweep.get("extends") else ""  # an older service says nothing of it
    return ", ".join(filter(None, [sweep["name"] or sweep["preset"], extends]))


def _time_taken_or_left(experiment: Json) -> str:
    left = experiment["eta_seconds"]
    return duration(elapsed_seconds(experiment)) if left is None else f"{duration(left)} left"


def displayed_state(experiment: Json) -> str:
    return "stalled" if experiment["stalled"] else str(experiment["state"])


def fit_in_words(experiment: Json) -> str:
    """How its network has come out so far: "fit", "not started"; empty before the first row."""
    fit = experiment.get("fit")  # an older service says nothing
    return FIT_IN_WORDS[fit] if fit else ""


def fraction_in_last_row(experiment: Json, which: str) -> str:
    """Of the last row; "–" before the first, and where nothing finite was measured."""
    return fraction((experiment["last_row"] or {}).get(which))


def elapsed_seconds(experiment: Json) -> float | None:
    """From its first claim to its end, waiting for another worker included; None before."""
    if experiment["started_at"] is None or experiment["ended_at"] is None:
        return None
    took: timedelta = _time(experiment["ended_at"]) - _time(experiment["started_at"])
    return took.total_seconds()


def local_time(at: str | None) -> str | None:
    """RFC 3339 as the clock on the wall, to the minute."""
    return None if at is None else _time(at).astimezone().strftime("%Y-%m-%d %H:%M")


def short_local_time(at: str | None) -> str | None:
    """The same without the year, for a line that has little room."""
    return None if at is None else _time(at).astimezone().strftime("%d %b %H:%M")


def _time(at: str) -> datetime:
    return datetime.fromisoformat(at)
