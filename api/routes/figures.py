"""The picture of a sweep, or of several, as far as they have come."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from api.depends import StoreDep
from api.parameters import Id, refuse_unknown_query
from api.problems import problem_responses
from core.analysis.drawing import PictureFormat, Scale
from core.store.session import Store

router = APIRouter(prefix="/sweeps", tags=["sweeps"], dependencies=[Depends(refuse_unknown_query)])

With = Annotated[
    Sequence[Annotated[int, Query(ge=1)]],
    Query(alias="with", max_length=7, description="Other sweeps, to be drawn below it."),
]
Bands = Annotated[
    bool, Query(description="Where the seeds of a weight lie: 95 %, over fit runs; instead of each seed.")
]
Rows = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=200,
        description="Which rows: their numbers from the top, such as `1,3`, or a part of their titles.",
    ),
]
EpochScale = Annotated[
    Scale | None, Query(alias="scale", description="Of the epochs; by itself it goes by how many there are.")
]

_FIGURE = "Base fraction over epochs: a row a group that differs in more than weight and seed, as far as it has come."
_MEDIA_TYPES: dict[PictureFormat, str] = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}


def _picture_responses(file_format: PictureFormat) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route that answers with a picture."""
    picture = {"content": {_MEDIA_TYPES[file_format]: {"schema": {"type": "string", "format": "binary"}}}}
    return {200: picture, **problem_responses(404)}


@router.get("/{id}/figure.png", response_class=Response, description=_FIGURE, responses=_picture_responses("png"))
def draw_figure_as_png(
    id: Id, store: StoreDep, others: With = (), bands: Bands = False, rows: Rows = None, scale: EpochScale = None
) -> Response:
    return _figure(store, [id, *others], "png", bands, rows, scale)


@router.get("/{id}/figure.svg", response_class=Response, description=_FIGURE, responses=_picture_responses("svg"))
def draw_figure_as_svg(
    id: Id, store: StoreDep, others: With = (), bands: Bands = False, rows: Rows = None, scale: EpochScale = None
) -> Response:
    return _figure(store, [id, *others], "svg", bands, rows, scale)


@router.get("/{id}/figure.pdf", response_class=Response, description=_FIGURE, responses=_picture_responses("pdf"))
def draw_figure_as_pdf(
    id: Id, store: StoreDep, others: With = (), bands: Bands = False, rows: Rows = None, scale: EpochScale = None
) -> Response:
    return _figure(store, [id, *others], "pdf", bands, rows, scale)


def _figure(
    store: Store, ids: Sequence[int], file_format: PictureFormat, bands: bool, rows: str | None, scale: Scale | None
) -> Response:
    from api.figures import Wanted, figure_of_sweeps  # numpy and matplotlib, which the API starts without

    picture = figure_of_sweeps(store, ids, file_format, Wanted(bands, rows, scale))
    return Response(picture, media_type=_MEDIA_TYPES[file_format])
