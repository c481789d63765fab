"""The front door: what this is and where to go on, for a person in a browser and for a program."""

from html import escape
from importlib import metadata
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from fastapi.responses import HTMLResponse, JSONResponse

from api.parameters import refuse_unknown_query
from api.schemas import Home

router = APIRouter(tags=["health"], dependencies=[Depends(refuse_unknown_query)])

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Ballast</title>
</head>
<body>
<h1>Ballast {version}</h1>
<p>This service asks whether importance weighting still matters once a network has been trained long enough: post an
experiment or a whole sweep, and its curves are here while workers train it. <a href="{docs}">The documentation</a>
lists all that it answers; there are <a href="{experiments}">experiments</a>, <a href="{sweeps}">sweeps</a>,
<a href="{presets}">the paper's figures</a> and <a href="{workers}">workers</a>.</p>
</body>
</html>
"""
_HEADERS = {"Vary": "Accept", "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"}


@router.get(
    "/",
    response_model=Home,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "A page for browsers."}},
)
def welcome(accept: Annotated[str, Header(include_in_schema=False)] = "") -> Response:
    """What this is, and where to go on: a page for a browser, JSON for a program."""
    home = Home(version=metadata.version("ballast")).model_dump()
    if _preference(accept, "text/html") > _preference(accept, "application/json"):
        page = _PAGE.format(**{name: escape(text) for name, text in home.items()})
        return HTMLResponse(page, headers=_HEADERS)
    return JSONResponse(home, headers={"Vary": "Accept"})


def _preference(accept: str, media_type: str) -> float:
    """For a media type by `Accept`, from 0 to 1; what names it most exactly counts (RFC 9110)."""
    qualities = {}
    for choice in accept.lower().split(","):
        name, *parameters = (part.strip() for part in choice.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        qualities[name] = float(quality) if quality.replace(".", "", 1).isdecimal() else 0.0
    major = media_type.partition("/")[0]
    return next((qualities[name] for name in (media_type, f"{major}/*", "*/*") if name in qualities), 0.0)
