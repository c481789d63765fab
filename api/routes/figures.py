"""The picture of a sweep, as far as it has come."""

from io import BytesIO
from typing import Any, Literal

from fastapi import APIRouter, Depends, Response

from api.depends import StoreDep
from api.parameters import Id, refuse_unknown_query
from api.problems import problem_responses
from core.analysis.figures import draw
from core.analysis.groups import Line, shared_in_words, titled_groups
from core.states import ENDED
from core.store import curves, experiments, sweeps
from core.store.experiments import Experiment
from core.store.session import Store
from core.store.sweeps import Sweep

router = APIRouter(prefix="/sweeps", tags=["sweeps"], dependencies=[Depends(refuse_unknown_query)])

MOST_LINES = 1000  # of a figure

_FIGURE = "Base fraction over epochs: a row a group that differs in more than weight and seed, as far as it has come."
_MEDIA_TYPES = {"png": "image/png", "svg": "image/svg+xml"}


def _picture_responses(file_format: str) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route that answers with a picture."""
    picture = {"content": {_MEDIA_TYPES[file_format]: {"schema": {"type": "string", "format": "binary"}}}}
    return {200: picture, **problem_responses(404)}


@router.get("/{id}/figure.png", response_class=Response, description=_FIGURE, responses=_picture_responses("png"))
def draw_figure_as_png(id: Id, store: StoreDep) -> Response:
    return _figure(id, store, "png")


@router.get("/{id}/figure.svg", response_class=Response, description=_FIGURE, responses=_picture_responses("svg"))
def draw_figure_as_svg(id: Id, store: StoreDep) -> Response:
    return _figure(id, store, "svg")


def _figure(sweep_id: int, store: Store, file_format: Literal["png", "svg"]) -> Response:
    with store.reading() as tx:
        sweep = sweeps.get(tx, sweep_id)
        members = experiments.members(tx, sweep_id, MOST_LINES)
    lines = [(member.spec, _line(store, member)) for member in members]
    picture = BytesIO()
    title = _title(sweep, members, sum(1 for _, line in lines if len(line.epoch)))
    draw(titled_groups(lines), title, picture, file_format, shared_in_words([spec for spec, _ in lines]))
    return Response(picture.getvalue(), media_type=_MEDIA_TYPES[file_format])


def _line(store: Store, member: Experiment) -> Line:
    with store.reading() as tx:  # of its own: a thousand curves take seconds
        fractions = curves.fractions(tx, member.id)
    return Line(member.importance_weight, member.spec["seed"], *fractions, diverged=member.diverged_at is not None)


def _title(sweep: Sweep, drawn: list[Experiment], begun: int) -> str:
    """Its name, and what the figure does not show of it: members beyond the first, rows that are still to come."""
    title = sweep.name or sweep.preset or f"sweep {sweep.id}"
    count = sum(sweep.counts.values())
    if count > MOST_LINES:
        title += f" (the first {MOST_LINES} of {count})"
    if begun < len(drawn) or any(member.state not in ENDED for member in drawn):
        title += f" ({begun} of {len(drawn)} have rows)"
    return title
