"""The answer of a sweep: the effect of its weights as JSON, and as a report for people; computed when it is asked."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.depends import StoreDep
from api.effects import SweepEffectOut
from api.parameters import Id, refuse_unknown_query
from api.problems import problem_responses

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
    from api.studies import studied, sweep_effect_out  # numpy and scipy, which the API starts without; so below

    other = None if against is None else studied(store, against)
    return sweep_effect_out(studied(store, id), other)


@router.get("/{id}/effect.svg", response_class=Response, responses=_text_responses("image/svg+xml"))
def draw_effect_as_svg(id: Id, store: StoreDep) -> Response:
    """Slope and bend over epochs, with their intervals."""
    from api.studies import effect_figure_of, studied

    return Response(effect_figure_of(studied(store, id)), media_type="image/svg+xml")


@router.get("/{id}/report", response_class=Response, responses=_text_responses("text/html"))
def show_report(id: Id, store: StoreDep) -> Response:
    """The same for people: one page that needs no network, and prints well."""
    from api.studies import report_of, studied

    return Response(report_of(studied(store, id)), media_type="text/html; charset=utf-8", headers=_CLOSED)


@router.get("/{id}/report.md", response_class=Response, responses=_text_responses("text/markdown"))
def show_report_as_markdown(id: Id, store: StoreDep) -> Response:
    """The report as Markdown; its pictures are beside it, `figure.svg` and `effect.svg`."""
    from api.studies import markdown_of, studied

    return Response(markdown_of(studied(store, id)), media_type="text/markdown; charset=utf-8")
