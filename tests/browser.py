"""A headless Chromium that tests look through, over its DevTools protocol by a pipe: no driver, no package, no port."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.servers import PATIENCE_S

Message = dict[str, Any]


class NoBrowser(Exception):
    """This machine has no Chromium."""


class Page(NamedTuple):
    """A page as it is after it has loaded, at one width."""

    requests: list[str]  # addresses that it asked for, itself first; allowed, answered or not. Not those of `data:`
    complaints: list[str]  # on the console: errors, warnings, what its content security policy has refused
    evaluate: Callable[[str], Any]  # what an expression gives; a promise is waited for
    pdf: Callable[[], bytes]  # on A4, with the margins that a browser has by default


class Chromium:
    """One process with a profile in `folder`. Raises NoBrowser."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if program is None:
            raise NoBrowser("this machine has no chromium: apt-get install chromium")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += ["--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}"]
        there, answers = os.pipe(), os.pipe()
        with (folder / "chromium.log").open("ab") as log:
            self._process = subprocess.Popen(
                # It reads what it is asked from descriptor 3, and answers on 4.
                ["bash", "-c", f'exec "$@" 3<&{there[0]} 4>&{answers[1]}', "-", program, *options],
                pass_fds=(there[0], answers[1]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(there[0])
        os.close(answers[1])
        self._to, self._from = os.fdopen(there[1], "wb"), os.fdopen(answers[0], "rb")
        self._numbers, self._unread = count(1), b""
        self._events: list[Message] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._ask("Browser.close")
        self._process.wait(PATIENCE_S)
        self._to.close()
        self._from.close()

    def open(self, address: str, width: int = 1280) -> Page:
        """In a tab of its own, as loaded as it gets by itself: nothing that it asked for is still on its way."""
        self._events.clear()
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        tab = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

        def ask(method: str, **parameters: Any) -> Message:
            return self._ask(method, tab, **parameters)

        def evaluate(expression: str) -> Any:
            found = ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
            assert "exceptionDetails" not in found, found
            return found["result"].get("value")

        for domain in ("Page", "Network", "Log", "Runtime"):
            ask(f"{domain}.enable")
        ask("Page.setLifecycleEventsEnabled", enabled=True)
        phone = width < 600
        ask("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1 + phone, mobile=phone)
        loading = ask("Page.navigate", url=address)
        self._wait_for("Page.lifecycleEvent", name="networkIdle", loaderId=loading["loaderId"])
        events = [each for each in self._events if each.get("sessionId") == tab]
        return Page(
            requests=[address for each in events for address in _requested(each)],
            complaints=[said for each in events for said in _complaints(each)],
            evaluate=evaluate,
            pdf=lambda: base64.b64decode(
                ask("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=False)["data"]
            ),
        )

    def _ask(self, method: str, tab: str | None = None, **parameters: Any) -> Message:
        """Its result."""
        number = next(self._numbers)
        asked = {"id": number, "method": method, "params": parameters} | ({"sessionId": tab} if tab else {})
        self._to.write(json.dumps(asked).encode() + b"\0")
        self._to.flush()
        answer = self._read_until(lambda message: message.get("id") == number)
        assert "error" not in answer, (method, answer)
        result: Message = answer["result"]
        return result

    def _wait_for(self, method: str, **parameters: str) -> None:
        """An event, if it has not come yet."""

        def is_it(message: Message) -> bool:
            return message.get("method") == method and parameters.items() <= message["params"].items()

        if not any(is_it(event) for event in self._events):
            self._read_until(is_it)

    def _read_until(self, is_it: Callable[[Message], bool]) -> Message:
        """What is not it is kept in `_events`."""
        while True:
            *messages, self._unread = self._unread.split(b"\0")
            for at, each in enumerate(messages):
                message: Message = json.loads(each)
                if is_it(message):
                    self._unread = b"\0".join([*messages[at + 1 :], self._unread])
                    return message
                self._events.append(message)
            more = os.read(self._from.fileno(), 1 << 20)
            if not more:
                raise OSError("Chromium has ended")
            self._unread += more


def _requested(event: Message) -> list[str]:
    if event.get("method") != "Network.requestWillBeSent":
        return []
    address: str = event["params"]["request"]["url"]
    return [] if address.startswith("data:") else [address]


def _complaints(event: Message) -> list[str]:
    match event.get("method"):
        case "Log.entryAdded":
            entry = event["params"]["entry"]
            return [f"{entry['level']}: {entry['text']}"] if entry["level"] in ("warning", "error") else []
        case "Runtime.consoleAPICalled":
            said = event["params"]
            return [f"{said['type']}: {said['args']}"] if said["type"] in ("warning", "error", "assert") else []
        case "Runtime.exceptionThrown":
            return [f"exception: {event['params']['exceptionDetails']}"]
        case _:
            return []
