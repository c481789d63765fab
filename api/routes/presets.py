"""Presets, the paper's figures among them: what each would run."""

from typing import Annotated, get_args

from fastapi import APIRouter, Depends, Path, Query

from api.parameters import refuse_unknown_query
from api.problems import problem_responses
from api.schemas import PresetList, PresetOut, PresetSummary
from api.views import grid_out
from core.presets import PresetName, title
from core.sweeps import SweepRequest, grids_and_specs

router = APIRouter(prefix="/presets", tags=["sweeps"], dependencies=[Depends(refuse_unknown_query)])


@router.get("")
def list_presets() -> PresetList:
    """All presets."""
    return PresetList(
        items=[
            PresetSummary(name=name, title=title(name), count=len(grids_and_specs(SweepRequest(preset=name))[1]))
            for name in get_args(PresetName)
        ]
    )


@router.get("/{name}", responses=problem_responses(404))
def show_preset(
    name: Annotated[PresetName, Path(examples=["figure-2"])],
    as_drawn: Annotated[bool, Query(description="The weights of the paper's picture, not of its text.")] = False,
) -> PresetOut:
    """One preset, with every spec in full."""
    grids, specs = grids_and_specs(SweepRequest(preset=name, as_drawn=as_drawn))
    return PresetOut(
        name=name,
        title=title(name),
        count=len(specs),
        grids=[grid_out(grid) for grid in grids],
        specs=specs,
    )
