"""What the pages for browsers share: their frame, and how one tells that it is a browser that asks."""

from collections.abc import Mapping
from html import escape

from fastapi import Response
from fastapi.responses import HTMLResponse

# Nothing in them may ask anything of anybody, and their forms are sent to this service alone. An answer is of one
# person, and no proxy's to keep.
_HEADERS = {
    "Vary": "Accept",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
}

_FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Ballast</title>
</head>
<body>
<h1>{heading}</h1>
{body}
</body>
</html>
"""


def page(heading: str, body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A page that needs no script, of a body that is HTML already."""
    return HTMLResponse(_FRAME.format(heading=escape(heading), body=body), status, {**_HEADERS, **(headers or {})})


def prefers_html(accept: str) -> bool:
    """As browsers do; a program that does not say what it would like gets JSON."""
    return _preference(accept, "text/html") > _preference(accept, "application/json")


def _preference(accept: str, media_type: str) -> float:
    """For a media type by `Accept`, from 0 to 1; what names it most exactly counts (RFC 9110)."""
    qualities = {}
    for choice in accept.lower().split(","):
        name, *parameters = (part.strip() for part in choice.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        qualities[name] = float(quality) if quality.replace(".", "", 1).isdecimal() else 0.0
    major = media_type.partition("/")[0]
    return next((qualities[name] for name in (media_type, f"{major}/*", "*/*") if name in qualities), 0.0)
