"""Commands that say what came of a sweep: the effect of its weights with a verdict on each claim, and its report."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from api.cli.http.connection import service_client
from api.cli.printing import AsJson, fraction, print_json, print_note, print_table, write_file
from core.analysis.words import with_interval
from core.fit import FIT_IN_WORDS

app = typer.Typer()

Json = dict[str, Any]

Sweep = Annotated[int, typer.Argument(metavar="SWEEP", min=1, help="The number of a sweep.")]

_SETS = {"in_domain": "in-domain", "out_of_domain": "out-of-domain"}
_RUNS = {"fit_runs": "fit runs", "all_runs": "all runs"}


@app.command(epilog="Example: ballast effect 3 --against 5")
def effect(
    sweep: Sweep,
    against: Annotated[
        int | None, typer.Option(metavar="SWEEP", min=1, help="How far its slopes differ from this one's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what the weights of a sweep do, with intervals over seeds, and what that says of each claim of the paper."""
    with service_client() as client:
        answer = client.effect(sweep, against)
    if as_json:
        print_json(answer)
        return
    runs = [run for group in answer["groups"] for run in group["runs"]]
    print_table(("group", "test set", "of", "runs", "slope", "bend", "spread", "the effect"), _effect_rows(answer))
    count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
    print(f"\n{count}: {_fits_in_words(runs)}; slope and bend in logits per octave, 95 % over seeds")
    for claim in answer["claims"]:
        _print_claim(claim)
    if answer["against"]:
        _print_against(answer["against"])
    if not answer["complete"]:
        print_note(
            f"preliminary: not all of sweep {sweep} has ended, and what is not behind has come to epoch "
            f"{answer['epochs']}"
        )
    if answer["left_to_read"]:
        print_note(f"of the first {answer['members']} experiments; {answer['left_to_read']} more are left out")


@app.command(epilog="Example: ballast report 3 --out report.html")
def report(
    sweep: Sweep,
    out: Annotated[Path, typer.Option(help="A file .html or .md; - writes Markdown to standard output.")] = Path(
        "report.html"
    ),
    as_json: AsJson = False,
) -> None:
    """Write the report of a sweep, as far as it has come: one page that needs no network, or Markdown."""
    suffix = "md" if out == Path("-") else out.suffix.removeprefix(".").lower()
    formats: dict[str, Literal["html", "md"]] = {"html": "html", "htm": "html", "md": "md"}
    if suffix not in formats:
        raise typer.BadParameter(f"{out} is neither .html nor .md")
    with service_client() as client:
        content = client.report(sweep, formats[suffix])
    write_file(out, content, {"sweep_id": sweep}, as_json)


def _effect_rows(answer: Json) -> Iterable[tuple[Any, ...]]:
    for group in answer["groups"]:
        for which, set_words in _SETS.items():
            for of, run_words in _RUNS.items():
                found = group[which][of]
                numbers = (_estimate(found["slope"]), _estimate(found["bend"]), fraction(found["spread"]))
                verdict = found["verdict"].replace("_", " ") + (f": {found['reason']}" if found["reason"] else "")
                yield (group["title"], set_words, run_words, found["runs"], *numbers, verdict)


def _fits_in_words(runs: Iterable[Json]) -> str:
    """ "12 fit, 1 collapsed, 2 behind"."""
    runs = list(runs)
    counts = Counter(run["fit"] for run in runs if not run["behind"])
    words = [f"{counts[fit]} {words}" for fit, words in FIT_IN_WORDS.items() if counts[fit]]
    behind = sum(run["behind"] for run in runs)
    return ", ".join([*words, *([f"{behind} behind"] if behind else [])])


def _print_claim(claim: Json) -> None:
    groups = "; ".join(filter(None, claim["groups"]))
    print(f"\n{claim['claim']} {claim['says']}: {claim['verdict']}{f' ({groups})' if groups else ''}")
    print(f"   {claim['sentence']}")
    if claim["would_decide"]:
        print(f"   What would decide it? {claim['would_decide'][:1].upper()}{claim['would_decide'][1:]}.")


def _print_against(against: Json) -> None:
    print(f"\nless those of sweep {against['sweep_id']}, over fit runs at the end:")
    if against["reason"]:
        print(f"   nothing: {against['reason']}")
        return
    print_table(
        ("this", "that", "test set", "slope", "bend"),
        (
            (*pair["differs"], words, _estimate(pair[f"{which}_slope"]), _estimate(pair[f"{which}_bend"]))
            for pair in against["comparisons"]
            for which, words in _SETS.items()
        ),
    )


def _estimate(number: Json | None) -> str:
    """ "0.131 (0.123 to 0.139)"; "–" where there is none."""
    if number is None:
        return "–"
    if number["low"] is None:
        seeds = number.get("n")  # of a difference they are two numbers
        why = "no interval" if seeds is None else "one seed" if seeds == 1 else f"the same for {seeds} seeds"
        return f"{number['estimate']:z.3f} ({why})"
    return with_interval(number["estimate"], number["low"], number["high"])
