"""The report of a sweep, for people: Markdown, and the same as one HTML page that needs no network and prints well.

Every number in it is one of the study's; nothing is computed here.
"""

import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple

from core.analysis.bands import Band
from core.analysis.document import SAYS, published_fractions
from core.analysis.groups import SpecJson, shared_in_words
from core.analysis.runs import IN_WORDS, octaves
from core.analysis.study import GroupStudy, RunFit, Study
from core.analysis.verdicts import Answer, Claim, in_words
from core.analysis.words import bounds
from core.fit import FIT_IN_WORDS, Fit

_HOW_TO_READ = (
    "The *slope* is the change of logit f with each doubling of base : other, f the base fraction; the *bend* is the "
    "same with each doubling of the distance from 1:1; the *spread* is the largest mean of a weight less the smallest. "
    "The effect has *faded* where the intervals of slope and bend both lie within ±0.02. Intervals are of 95 %, "
    "Student's t over seeds."
)
_BEHIND = "behind"
_FIT_MEANS = {
    Fit.UNDER_FIT: "it gets fewer than 99 % of a class right in training",
    Fit.UNCLEAR: "in training, with dropout on, it gets fewer right; how many without, as it predicts, is not measured",
    Fit.COLLAPSED: "it once told the classes apart, and now predicts one class for every image",
    Fit.NOT_STARTED: "it has predicted one class for every image since its first row",
    Fit.NOT_FINITE: "it diverged: its loss or its logits are no longer finite",
}
FIGURE, EFFECT_FIGURE = "figure.svg", "effect.svg"  # as the Markdown names them


class Facts(NamedTuple):
    """What a report says of a sweep beside its study."""

    sweep_id: int
    title: str
    preset: str | None
    made_at: str  # RFC 3339
    progress: str  # "12 succeeded, 3 running"
    complete: bool
    left_to_read: int  # members beyond those that are studied
    specs: Sequence[SpecJson]  # of its members
    grids: Sequence[Mapping[str, Any]]  # that made them
    provenances: Sequence[Mapping[str, Any]]  # of those that have one


def report_markdown(study: Study, facts: Facts) -> str:
    """GitHub's Markdown; its pictures are `FIGURE` and `EFFECT_FIGURE`."""
    parts = [
        f"# {_plain(facts.title)}",
        _standing(study, facts),
        "## What was run",
        *_what_was_run(study, facts),
        "## What it says",
        *(_claim(claim) for claim in study.claims),
        *([] if study.claims else ["These experiments speak to none of the claims of the document."]),
        "## Base fractions",
        f"![Base fraction over epochs by importance weight, in-domain beside out-of-domain]({FIGURE})",
        *(_group_fractions(group, facts.preset) for group in study.groups),
        "## The effect of the weight",
        f"![Slope and bend over epochs with their intervals, in-domain beside out-of-domain]({EFFECT_FIGURE})",
        _HOW_TO_READ,
        _effects(study.groups),
        *_agreement(study.groups),
        *_set_apart(study.groups),
        "## Where it comes from",
        _provenance(facts),
        "The grid that made it:",
        _json(facts.grids),
        *(["Its first experiment, every field:", _json(facts.specs[0])] if facts.specs else []),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def report_html(markdown: str, title: str, pictures: Mapping[str, bytes]) -> str:
    """`markdown` as one page; `pictures`, SVG by the name that it has there, lie within it."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(markdown)
    for token in (inner for outer in tokens for inner in outer.children or () if inner.type == "image"):
        content = pictures[str(token.attrs["src"])]
        token.attrs["src"] = f"data:image/svg+xml;base64,{b64encode(content).decode()}"
    for token, inner in pairwise(tokens):
        if token.type == "th_open":
            token.attrs["scope"] = "col"
        if token.type == "td_open" and len(inner.content) > _SHORT:
            token.attrs["class"] = "words"
    body = reader.renderer.render(tokens, reader.options, {})
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    body = body.replace("<p><img", '<p class="wide"><img')
    return _PAGE.replace("{title}", escape(title)).replace("{body}", body)


def _standing(study: Study, facts: Facts) -> str:
    if facts.complete:
        return ""
    least, most = study.epochs
    last = f"{most}" if least == most else f"{least} to {most}"
    rests = f"it rests on runs that have come to epoch {last}" if most else "there are no rows yet"
    return f"**Preliminary**: {facts.progress}; {rests}."


def _what_was_run(study: Study, facts: Facts) -> Iterable[str]:
    if not facts.specs:
        yield f"Sweep {facts.sweep_id} has no experiments."
        return
    weights = sorted({spec["importance_weight"] for spec in facts.specs}, key=lambda each: (-octaves(each), each))
    seeds = {spec["seed"] for spec in facts.specs}
    runs = [run for group in study.groups for run in group.runs]
    came_out = f"How the networks came out: {_fits_in_words(runs)}."
    shared, progress = _plain(shared_in_words(facts.specs)), facts.progress[:1].upper() + facts.progress[1:]
    trained = "; ".join(filter(None, [shared, f"weights {', '.join(weights)}", _number(len(seeds), "seed")]))
    yield (f"{_number(len(facts.specs), 'experiment')} of sweep {facts.sweep_id}: {trained}. {progress}. {came_out}")
    if facts.left_to_read:
        yield f"These are its first experiments: {facts.left_to_read} more are left out of all that follows."
    titles = [_plain(group.title) for group in study.groups if group.title]
    if titles:
        yield "Its groups, in each of which only weight and seed differ: " + "; ".join(titles) + "."


def _fits_in_words(runs: Iterable[RunFit]) -> str:
    """ "12 fit, 3 collapsed, 1 behind"."""
    counts = Counter(map(_came_out, runs))
    return ", ".join(f"{counts[words]} {words}" for words in (*FIT_IN_WORDS.values(), _BEHIND) if counts[words])


def _came_out(run: RunFit) -> str:
    return _BEHIND if run.behind else FIT_IN_WORDS[run.fit]


def _claim(claim: Claim) -> str:
    groups = "; ".join(_plain(title) for title in claim.groups if title)
    heading = f"**{claim.claim}: {SAYS[claim.claim]}** – **{_VERDICTS[claim.verdict]}**"
    would = f" *What would decide it? {_sentence(claim.would_decide)}*" if claim.would_decide else ""
    return f"{heading}{f' ({groups})' if groups else ''}. {_plain(claim.sentence)}{would}"


def _group_fractions(group: GroupStudy, preset: str | None) -> str:
    published = published_fractions(preset, group.spec)
    has_published = any(published.values())
    head = ["weight", "runs", *(f"{IN_WORDS[which]} {what}" for which in IN_WORDS for what in ("mean", "95 %"))]
    head += [f"published {IN_WORDS[which]}" for which in IN_WORDS] if has_published else []
    rows = []
    for weight in dict.fromkeys(run.importance_weight for run in group.runs):
        runs = [run for run in group.runs if run.importance_weight == weight]
        row = [weight, _fits_in_words(runs)]
        for which in IN_WORDS:
            row += _band(group.of(which).by_weight.get(weight))
        row += [_fraction(published[which].get(weight)) for which in IN_WORDS] if has_published else []
        rows.append(row)
    title = f"### {_plain(group.title)}\n\n" if group.title else ""
    return title + _last(group) + "\n\n" + _table(head, rows)


def _last(group: GroupStudy) -> str:
    if not any(run.fit is Fit.FIT for run in group.runs):
        return "No run is fit so far: there is no fraction to give."
    effect = max((group.of(which).fit_runs for which in IN_WORDS), key=lambda each: each.epoch or 0)
    if effect.epoch is None:
        return f"There is no fraction to give: {effect.reason}."
    last = f"its mean over its last {effect.rows} evaluated epochs up to {effect.epoch}"
    fraction = last if effect.rows > 1 else f"the one of epoch {effect.epoch}"
    return f"Of the runs that are fit. A run's fraction is {fraction}; from these come mean and interval over seeds."


def _band(band: Band | None) -> list[str]:
    if band is None:
        return ["–", "–"]
    if band.low is None or band.high is None:
        return [_fraction(band.estimate), f"the same for {band.n} seeds" if band.all_equal else "one seed"]
    return [_fraction(band.estimate), " to ".join(bounds(band.low, band.high))]


def _effects(groups: Sequence[GroupStudy]) -> str:
    rows = []
    for group in groups:
        for which in IN_WORDS:
            of_set = group.of(which)
            for of, effect in (("fit runs", of_set.fit_runs), ("all runs", of_set.all_runs)):
                verdict = _EFFECTS[effect.verdict.value] + (f": {_plain(effect.reason)}" if effect.reason else "")
                numbers = [in_words(effect.slope), in_words(effect.bend), _fraction(effect.spread)]
                rows.append((group, [IN_WORDS[which], of, str(effect.runs), *numbers, verdict]))
    return _table_of_groups(["test set", "of", "runs", "slope", "bend", "spread", "the effect"], rows)


def _agreement(groups: Sequence[GroupStudy]) -> Iterable[str]:
    rows = [
        (group, [IN_WORDS[which], each.importance_weight, in_words(each.share), _fraction(each.between_seeds)])
        for group in groups
        for which in IN_WORDS
        for each in group.of(which).disagreement
    ]
    if rows:
        yield "### Do they predict the same?"
        yield "The share of test images predicted otherwise than by 1:1 of the same seed, and by 1:1 of another seed."
        yield _table_of_groups(["test set", "weight", "than 1:1", "between seeds of 1:1"], rows)


def _set_apart(groups: Sequence[GroupStudy]) -> Iterable[str]:
    """Runs that are no measurement of a weight, each by its number."""
    runs = [(group, run) for group in groups for run in group.runs]
    behind = [(group, run) for group, run in runs if run.behind]
    unfit = [(group, run) for group, run in runs if run.fit not in (Fit.FIT, None) and not run.behind]
    if unfit:
        yield "### Runs that are not fit"
        yield (
            "They enter no statistic of the fit runs: what they predict is not what a weight does to a trained network."
        )
        found = {run.fit for _, run in unfit}
        yield "\n".join(f"* {FIT_IN_WORDS[fit]}: {means}" for fit, means in _FIT_MEANS.items() if fit in found)
        yield _table_of_runs(unfit)
    if behind:
        yield "### Runs that are behind"
        yield "They enter no statistic at the end: with them, the end of all would be where they are."
        yield _table_of_runs(behind)


def _table_of_runs(runs: Sequence[tuple[GroupStudy, RunFit]]) -> str:
    rows = [
        (group, [str(run.id), run.importance_weight, str(run.seed), str(run.epoch), _came_out(run)])
        for group, run in runs
    ]
    return _table_of_groups(["experiment", "weight", "seed", "epoch", "it is"], rows)


def _provenance(facts: Facts) -> str:
    def distinct(*keys: str) -> str:
        values: dict[str, None] = {}
        for provenance in facts.provenances:
            value: Any = provenance
            for key in keys:
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is not None:
                values[str(value)] = None
        return ", ".join(_plain(value) for value in values) or "–"

    changed = any(provenance.get("code", {}).get("dirty") for provenance in facts.provenances)
    seeds = sorted({spec["seed"] for spec in facts.specs})
    return _table(
        ["what", "which"],
        [
            ["Ballast", distinct("code", "version")],
            ["commit", distinct("code", "commit") + (", with changes that are in no commit" if changed else "")],
            ["PyTorch", distinct("packages", "torch")],
            ["devices", distinct("device", "name")],
            ["threads", distinct("threads")],
            ["checksum of the data", distinct("dataset", "sha256")],
            ["seeds", ", ".join(map(str, seeds[:20])) + (" …" if len(seeds) > 20 else "")],
            ["sweep made at", facts.made_at],
        ],
    )


def _json(value: Any) -> str:
    return "```json\n" + json.dumps(value, indent=1, ensure_ascii=False) + "\n```"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _table_of_groups(head: Sequence[str], rows: Sequence[tuple[GroupStudy, Sequence[str]]]) -> str:
    """Each row behind the title of its group, where groups have titles."""
    if not any(group.title for group, _ in rows):
        return _table(head, (row for _, row in rows))
    return _table(["group", *head], ([_plain(group.title), *row] for group, row in rows))


def _plain(text: str) -> str:
    """A user's words, in which nothing is Markdown."""
    return re.sub(r"([\\\\`*_{}\[\]<>#|~!&])", r"\\\1", " ".join(text.split()))


def _sentence(words: str) -> str:
    return f"{_plain(words[:1].upper() + words[1:])}."


def _fraction(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _number(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


_VERDICTS = {Answer.HOLDS: "holds", Answer.FAILS: "fails", Answer.UNDECIDED: "undecided"}
_EFFECTS = {"faded": "faded", "not_faded": "not faded", "undecided": "undecided"}

_SHORT = 30  # letters of a cell, up to which they stand on one line: "0.000 (the same for 3 seeds)"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
h3 { font-size: 1.05rem; margin-top: 1.6rem; }
.wide { overflow-x: auto; }
img { max-width: 100%; min-width: 40rem; height: auto; }
table { border-collapse: collapse; font-size: 0.85rem; }
th, td { text-align: left; padding: 0.25rem 0.7rem 0.25rem 0; border-bottom: 1px solid #e5e5e5; vertical-align: top; }
th, td { font-variant-numeric: tabular-nums; white-space: nowrap; }
td.words { white-space: normal; min-width: 16rem; }
pre { font-size: 0.75rem; background: #f6f6f6; padding: 0.8rem; overflow-x: auto; }
@media print {
  body { font-size: 10pt; max-width: none; margin: 0; padding: 0; }
  table { font-size: 8pt; } th { white-space: normal; } td.words { min-width: 7rem; } img { min-width: 0; }
  h2, h3 { break-after: avoid; } img, tr { break-inside: avoid; }
  .wide, pre { overflow: visible; } pre { font-size: 7pt; white-space: pre-wrap; overflow-wrap: anywhere; }
}
</style>
</head>
<body>
{body}</body>
</html>
"""
