"""One service, as a Python object: a method a route, and what comes back is its JSON."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal
from urllib.parse import quote
from uuid import uuid4

import httpx2
import stamina

from .errors import BrokenOff, ClientError, Refused, TooOften, TooSlow, Unreachable

Json = dict[str, Any]
Ask = Literal["cancel", "pause", "resume", "retry"]
Device = Literal["any", "cpu", "gpu"]
PictureFormat = Literal["png", "svg", "pdf"]

_PATIENCE = 300  # seconds, where ten thousand experiments are written, or a figure is drawn

_KEY = "Idempotency-Key"
_BREAKS = (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)

_MINUTE = 60  # seconds: the longest that a token waits for its next request

_patiently = stamina.RetryingCaller(attempts=None, timeout=20.0, wait_max=2.0)
_unhurriedly = stamina.RetryingCaller(attempts=None, timeout=2.0 * _MINUTE)


class Made(Json):
    """The JSON of what was made; or of what was `there` before, with `dedupe`."""

    there: bool


class Client:
    """Talks to one Ballast service. Every method raises Unreachable, BrokenOff, TooSlow or Refused, and returns the
    JSON that `/docs` documents.

    What makes something sends an idempotency key, by default a new one each time. The same again under the same key
    makes nothing twice, so that what broke off is sent again, for some 20 seconds. What is more than the token may send
    a minute is sent when it may be, for some two minutes; then TooOften is raised, which is a Refused."""

    def __init__(self, url: str, timeout_seconds: float = 30, token: str | None = None) -> None:
        self.url = url
        self._timeout_seconds = timeout_seconds
        # Only what never reached the service is sent again. It is on loopback: no proxy comes between.
        # Where it is elsewhere, it asks for a token, and a redirect would carry that to a third: none is followed.
        # Certificates are read only where there are any to check: that takes longer than many a request.
        transport = httpx2.HTTPTransport(retries=2, verify=url.lower().startswith("https:"))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx2.Client(
                base_url=url, timeout=timeout_seconds, transport=transport, trust_env=False, headers=headers
            )
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise self._unreachable(error) from None

    def close(self) -> None:
        self._http.close()

    def submit(
        self,
        spec: Json,
        priority: int = 0,
        dedupe: bool = False,
        key: str | None = None,
        device: Device | None = None,
    ) -> Made:
        """For `device`, by default any. With `dedupe`, the newest experiment of the same spec that has neither failed
        nor been cancelled, if any."""
        params = _options(priority, device, dedupe)
        return self._make("/experiments", spec, params, key, self._timeout_seconds)

    def extend(
        self, id: int, epochs: int, priority: int = 0, key: str | None = None, device: Device | None = None
    ) -> Made:
        """A new experiment that goes on from the end of this one, to `epochs` in all; by default for its device."""
        params = _options(priority, device)
        return self._make(f"/experiments/{id}/extend", {"epochs": epochs}, params, key, self._timeout_seconds)

    def experiments(self, limit: int = 50, **filters: str | int | None) -> Iterator[Json]:
        """The newest `limit` experiments that match, page by page."""
        wanted = {name: value for name, value in filters.items() if value is not None}
        return self._pages("/experiments", wanted, limit)

    def experiment(self, id: int) -> Json:
        return self._get(f"/experiments/{id}")

    def curve(self, id: int, after: int = 0) -> Json:
        return self._get(f"/experiments/{id}/curve", {"after": after})

    def events(self, id: int) -> list[Json]:
        items: list[Json] = self._get(f"/experiments/{id}/events")["items"]
        return items

    def predictions(self, id: int, epoch: int | None = None) -> Json:
        return self._get(f"/experiments/{id}/predictions", {} if epoch is None else {"epoch": epoch})

    def weights(self, id: int) -> bytes:
        """safetensors."""
        return self._request("GET", f"/experiments/{id}/weights", timeout=_PATIENCE).content

    def set_priority(self, id: int, priority: int) -> Json:
        return self._send("PATCH", f"/experiments/{id}", {"priority": priority})

    def ask(self, id: int, what: Ask) -> Json:
        """Cancel, pause, resume or retry it."""
        return self._ask("POST", f"/experiments/{id}/{what}")

    def delete(self, id: int) -> None:
        self._request("DELETE", f"/experiments/{id}", timeout=_PATIENCE)

    def sweep(self, id: int, members: int = 0) -> Json:
        """With its first `members`, at most 500."""
        return self._get(f"/sweeps/{id}", {"limit": members})

    def sweeps(self, limit: int = 50) -> Iterator[Json]:
        """The newest `limit` sweeps, page by page."""
        return self._pages("/sweeps", {}, limit)

    def members(self, id: int) -> Iterator[Json]:
        """All members of a sweep in the order of their positions, page by page."""
        cursor: str | None = "0"
        while cursor is not None:
            page = self._get(f"/sweeps/{id}", {"limit": 500, "cursor": cursor})["members"]
            yield from page["items"]
            cursor = page["next_cursor"]

    def submit_sweep(
        self,
        request: Json,
        priority: int = 0,
        dedupe: bool = False,
        key: str | None = None,
        device: Device | None = None,
    ) -> Made:
        """For `device`, by default any. With `dedupe`, the newest sweep of just the same specs, none of whose members
        was cancelled, if any."""
        params = _options(priority, device, dedupe)
        return self._make("/sweeps", request, params, key, _PATIENCE)

    def try_sweep(self, request: Json, dedupe: bool = False, device: Device | None = None) -> Json:
        """What `submit_sweep` would make: count and specs."""
        params = {"dry_run": True, **_options(None, device, dedupe)}
        return self._send("POST", "/sweeps", request, params=params, timeout=_PATIENCE)

    def grow(
        self, id: int, axes: Json, priority: int = 0, key: str | None = None, device: Device | None = None
    ) -> Made:
        """By default for the device of the sweep."""
        return self._make(f"/sweeps/{id}/members", {"axes": axes}, _options(priority, device), key, _PATIENCE)

    def extend_sweep(
        self,
        id: int,
        epochs: int,
        priority: int = 0,
        dedupe: bool = False,
        key: str | None = None,
        device: Device | None = None,
    ) -> Made:
        """A new sweep that goes on from all that succeeded, to `epochs` in all, by default for their devices;
        `left_out` names the others. With `dedupe`, the newest sweep of just the same specs, none of whose members was
        cancelled, if any."""
        params = _options(priority, device, dedupe)
        return self._make(f"/sweeps/{id}/extend", {"epochs": epochs}, params, key, _PATIENCE)

    def try_extension(self, id: int, epochs: int, dedupe: bool = False, device: Device | None = None) -> Json:
        """What `extend_sweep` would make: count and specs, what it costs, and what it would leave out."""
        params = {"dry_run": True, **_options(None, device, dedupe)}
        return self._send("POST", f"/sweeps/{id}/extend", {"epochs": epochs}, params=params, timeout=_PATIENCE)

    def try_growth(self, id: int, axes: Json, device: Device | None = None) -> Json:
        """What `grow` would add: count and specs."""
        params = {"dry_run": True, **_options(None, device)}
        return self._send("POST", f"/sweeps/{id}/members", {"axes": axes}, params=params, timeout=_PATIENCE)

    def set_sweep_priority(self, id: int, priority: int) -> Json:
        """Of every member that waits."""
        return self._send("PATCH", f"/sweeps/{id}", {"priority": priority}, timeout=_PATIENCE)

    def ask_sweep(self, id: int, what: Ask) -> Json:
        return self._ask("POST", f"/sweeps/{id}/{what}", timeout=_PATIENCE)

    def delete_sweep(self, id: int) -> Json:
        """Deletes the members that have ended; returns what is left."""
        return self._ask("DELETE", f"/sweeps/{id}", timeout=_PATIENCE)

    def figure(
        self,
        id: int,
        file_format: PictureFormat,
        others: Sequence[int] = (),
        bands: bool = False,
        rows: str | None = None,
        scale: Literal["linear", "log"] | None = None,
    ) -> bytes:
        """Of a sweep, with `others` below it; `rows`: their numbers from the top ("1,3"), or a part of their titles."""
        wanted = {"with": list(others), "bands": bands, "rows": rows, "scale": scale}
        params = {name: value for name, value in wanted.items() if value is not None}
        path = f"/sweeps/{id}/figure.{file_format}"
        return self._request("GET", path, params=params, timeout=_PATIENCE).content

    def effect(self, id: int, against: int | None = None) -> Json:
        """What the weights of a sweep do, with a verdict on each claim; with `against`, beside another sweep."""
        params = {} if against is None else {"against": against}
        return self._ask("GET", f"/sweeps/{id}/effect", params=params, timeout=_PATIENCE)

    def report(self, id: int, file_format: Literal["html", "md"] = "html") -> bytes:
        """The same for people."""
        path = f"/sweeps/{id}/report" + (".md" if file_format == "md" else "")
        return self._request("GET", path, timeout=_PATIENCE).content

    def presets(self) -> list[Json]:
        items: list[Json] = self._get("/presets")["items"]
        return items

    def preset(self, name: str, as_drawn: bool = False) -> Json:
        return self._get(f"/presets/{quote(name, safe='')}", {"as_drawn": as_drawn})

    def workers(self) -> list[Json]:
        items: list[Json] = self._get("/workers")["items"]
        return items

    def queue_stats(self) -> Json:
        """How many are queued and running, on how many workers, by device and by owner."""
        return self._get("/queue/stats")

    def ready(self) -> Json:
        return self._get("/readyz")

    def version(self) -> Json:
        return self._get("/version")

    def _pages(self, path: str, params: Json, limit: int) -> Iterator[Json]:
        cursor: str | None = None
        while limit > 0:
            wanted = {"limit": min(limit, 500), **params, **({} if cursor is None else {"cursor": cursor})}
            page = self._get(path, wanted)
            yield from page["items"]
            cursor = page["next_cursor"]
            limit -= len(page["items"])
            if cursor is None:
                return

    def _get(self, path: str, params: Json | None = None) -> Json:
        return self._ask("GET", path, params=params)

    def _make(self, path: str, body: Json, params: Json, key: str | None, timeout: float) -> Made:
        sent = {"params": params, "timeout": timeout, **_json(body, **{_KEY: key or str(uuid4())})}
        try:
            response = self._request("POST", path, **sent)
        except BrokenOff as broken:
            response = self._again(broken, path, sent)
        made = Made(self._object(response))
        made.there = response.status_code == 200
        return made

    def _again(self, broken: BrokenOff, path: str, sent: Json) -> httpx2.Response:
        try:
            return _patiently(_may_pass, self._request, "POST", path, **sent)
        except ClientError as error:
            raise (broken if _may_pass(error) else error) from None

    def _send(self, method: str, path: str, body: Json, **options: Any) -> Json:
        return self._ask(method, path, **_json(body), **options)

    def _ask(self, method: str, path: str, **options: Any) -> Json:
        return self._object(self._request(method, path, **options))

    def _object(self, response: httpx2.Response) -> Json:
        answer = _object(response)
        if answer is None:
            raise self._not_ballast()
        return answer

    def _request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        return _unhurriedly(_seconds_to_wait, self._request_at_once, method, path, **options)

    def _request_at_once(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            response = self._http.request(method, path, **options)
        except (httpx2.ReadTimeout, httpx2.WriteTimeout):
            seconds = options.get("timeout", self._timeout_seconds)
            what = f"the service at {self.url} took longer than {seconds:g} s to answer"
            raise TooSlow(f"{what}: {_hint(method, options)}") from None
        except (httpx2.HTTPError, UnicodeError) as error:  # the latter of a name that cannot be one
            if method == "GET" or not isinstance(error, _BREAKS):
                raise self._unreachable(error) from None
            what = f"the connection to the service at {self.url} broke off ({str(error) or type(error).__name__})"
            raise BrokenOff(f"{what}: {_hint(method, options)}") from None
        if response.status_code >= 400:
            problem = _object(response)
            if problem is None:
                raise self._not_ballast()
            raise _refusal(response, problem)
        return response

    def _not_ballast(self) -> Unreachable:
        return Unreachable(f"what answers at {self.url} is not Ballast: set BALLAST_URL")

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"no Ballast service answers at {self.url} ({error}): start one with `ballast up`, or set BALLAST_URL"
        )


def _options(priority: int | None, device: Device | None, dedupe: bool = False) -> Json:
    """Of a submission, as far as they are said: an older service knows of no device."""
    said = {"priority": priority, "device": device, "dedupe": "spec" if dedupe else None}
    return {name: value for name, value in said.items() if value is not None}


def _json(body: Json, **headers: str) -> Json:
    # Not by httpx, which stumbles over NaN and half a surrogate pair: the service names the field.
    return {"content": json.dumps(body).encode(), "headers": {"Content-Type": "application/json", **headers}}


def _refusal(response: httpx2.Response, problem: Json) -> Refused:
    seconds = response.headers.get("retry-after", "")
    if response.status_code == 429 and '"per-minute"' in response.headers.get("ratelimit", "") and seconds.isdecimal():
        return TooOften(problem, min(float(seconds), _MINUTE))
    return Refused(response.status_code, problem)


def _seconds_to_wait(error: Exception) -> float | bool:
    return error.seconds if isinstance(error, TooOften) else False


def _may_pass(error: Exception) -> bool:
    """The service is starting anew, or still at the request that broke off."""
    if isinstance(error, Refused):
        return error.status == 503
    return isinstance(error, Unreachable) and not isinstance(error, TooSlow)


def _hint(method: str, options: Json) -> str:
    if method == "GET":
        return "try again later"
    look = "it may still do what was asked, so look before you ask again"
    key = options.get("headers", {}).get(_KEY)
    return look if key is None else f"{look}; in Python, the same again under key={key!r} makes nothing twice"


def _object(response: httpx2.Response) -> Json | None:
    try:
        answer = response.json()
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None
