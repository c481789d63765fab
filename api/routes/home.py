"""The front door: what this is and where to go on, for a person in a browser and for a program."""

from html import escape
from importlib import metadata
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import JSONResponse

from api.callers import identified
from api.depends import StoreDep
from api.pages import page, prefers_html
from api.parameters import refuse_unknown_query
from api.schemas import Home

router = APIRouter(tags=["health"], dependencies=[Depends(refuse_unknown_query)])

_BODY = """<p>This service asks whether importance weighting still matters once a network has been trained long enough:
post an experiment or a whole sweep, and its curves are here while workers train it. <a href="{docs}">The
documentation</a> lists all that it answers; there are <a href="{experiments}">experiments</a>,
<a href="{sweeps}">sweeps</a>, <a href="{presets}">the paper's figures</a> and <a href="{workers}">workers</a>.</p>"""

_SIGNED_IN = """
<form method="post" action="/sign-out">
<p>You are signed in as {name}, who may {scope}. <button>Sign out</button></p>
</form>"""


@router.get(
    "/",
    response_model=Home,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}, "description": "A page for browsers."}},
)
def welcome(
    request: Request, store: StoreDep, accept: Annotated[str, Header(include_in_schema=False)] = ""
) -> Response:
    """What this is, and where to go on: a page for a browser, which must have signed in where tokens are needed; JSON
    for a program."""
    home = Home(version=metadata.version("ballast")).model_dump()
    if not prefers_html(accept):
        return JSONResponse(home, headers={"Vary": "Accept"})
    body = _BODY.format(**{name: escape(text) for name, text in home.items()})
    caller = identified(request, store)
    if caller.token is not None:
        body += _SIGNED_IN.format(name=escape(caller.name), scope=caller.scope)
    return page(f"Ballast {home['version']}", body)
