"""The answer of a sweep: the effect of its weights as JSON, and as a report for people; computed when it is asked."""

from io import BytesIO
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.depends import StoreDep
from api.effects import SweepEffectOut
from api.parameters import Id, refuse_unknown_query
from api.problems import problem_responses
from api.studies import WholeSweep, line_of, studied, title_of
from api.views import report_facts, sweep_effect_out
from core.analysis.effect_figures import draw_effect
from core.analysis.figures import draw
from core.analysis.groups import shared_in_words, titled_groups
from core.analysis.report import EFFECT_FIGURE, FIGURE, report_html, report_markdown

router = APIRouter(prefix="/sweeps", tags=["sweeps"], dependencies=[Depends(refuse_unknown_query)])

Against = Annotated[int | None, Query(ge=1, description="Another sweep: how far the slopes of the two differ.")]

# Nothing in it may ask anything of anybody, whatever a sweep is called.
_CLOSED = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}


def _text_responses(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}}, **problem_responses(404)}


@router.get("/{id}/effect", responses=problem_responses(404))
def show_effect(id: Id, store: StoreDep, against: Against = None) -> SweepEffectOut:
    """What the weights of a sweep do, in numbers with intervals over seeds: of each group the statistics at the end and
    over epochs, of each run how it came out, and a verdict on each claim that it can speak to, so far."""
    other = None if against is None else studied(store, against)
    return sweep_effect_out(studied(store, id), other)


@router.get("/{id}/report", response_class=Response, responses=_text_responses("text/html"))
def show_report(id: Id, store: StoreDep) -> Response:
    """The same for people: one page that needs no network, and prints well."""
    whole = studied(store, id)
    pictures = {FIGURE: _figure(whole), EFFECT_FIGURE: _effect_figure(whole)}
    markdown = report_markdown(whole.study, report_facts(whole))
    page = report_html(markdown, title_of(whole.sweep), pictures)
    return Response(page, media_type="text/html; charset=utf-8", headers=_CLOSED)


@router.get("/{id}/report.md", response_class=Response, responses=_text_responses("text/markdown"))
def show_report_as_markdown(id: Id, store: StoreDep) -> Response:
    """The report as Markdown; its pictures are beside it, `figure.svg` and `effect.svg`."""
    whole = studied(store, id)
    text = report_markdown(whole.study, report_facts(whole))
    return Response(text, media_type="text/markdown; charset=utf-8")


@router.get("/{id}/effect.svg", response_class=Response, responses=_text_responses("image/svg+xml"))
def draw_effect_as_svg(id: Id, store: StoreDep) -> Response:
    """Slope and bend over epochs, with their intervals."""
    return Response(_effect_figure(studied(store, id)), media_type="image/svg+xml")


def _figure(whole: WholeSweep) -> bytes:
    lines = [(member.spec, line_of(run)) for member, run in zip(whole.members, whole.runs, strict=True)]
    picture = BytesIO()
    draw(titled_groups(lines), "", picture, "svg", shared_in_words([spec for spec, _ in lines]))
    return picture.getvalue()


def _effect_figure(whole: WholeSweep) -> bytes:
    picture = BytesIO()
    draw_effect(whole.study.groups, "", picture, "svg")
    return picture.getvalue()
