"""What would be queued, and what it would cost, in words."""

from typing import Any

from api.cli.printing import experiment_count, print_json, print_table, roughly

Json = dict[str, Any]


def print_dry_run(answer: Json, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    from core.analysis.groups import differences_in_words, shared_in_words  # the spec's models take a while to build

    specs = answer["specs"]
    if not specs:
        print("nothing that is not there already")
        return
    rows = zip(specs, differences_in_words(specs), strict=True)
    print_table(
        ("weight", "seed", "what differs"),
        ((spec["importance_weight"], spec["seed"], difference) for spec, difference in rows),
    )
    print(": ".join(filter(None, [experiment_count(answer["count"]), shared_in_words(specs)])))
    if cost := answer.get("cost"):  # a preset's listing has none, nor has an older service
        print(cost_in_words(cost, answer["count"]))


def cost_in_words(cost: Json, count: int) -> str:
    """Of `count` experiments, in a sentence."""
    if cost["device_seconds"] is None:
        return (
            "how long they take is not known: no epoch of their kind has been measured on a device of a worker that is "
            "alive; `ballast bench` measures the paper's networks"
        )
    work = f"{roughly(cost['device_seconds'])} of one device"
    known, notes = cost["known_workers"], []
    if cost["unknown"]:
        notes.append(f"of {cost['unknown']} of {count} it is not known")
    if cost["seconds"] is None:
        takes, when = work, "; no worker is alive now"
    else:
        workers = "one worker" if known == 1 else f"{known} workers, {work}"
        takes, when = f"{roughly(cost['seconds'])} on {workers}", ", once their turn has come"
        if known < cost["workers"]:
            notes.append(f"how fast {cost['workers'] - known} more workers are is not known")
    about = f"{'at least' if cost['unknown'] else 'about'} {takes}" + (f" ({'; '.join(notes)})" if notes else "")
    sources = {"epochs of the same kind": cost["measured"], "`ballast bench`": cost["benchmarked"]}
    return f"{about}{when}; by {' and '.join(source for source, n in sources.items() if n)}"
