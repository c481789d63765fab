"""Real networks between real hosts: network namespaces, each with a name and a cable of its own to the machine's; and,
where these are refused, a proxy that holds back whatever passes.
"""

import atexit
import os
import secrets
import selectors
import socket
import subprocess
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import count
from typing import Self

from tests.servers import free_port

# Runs a command under a host name of its own.
_NAMED = 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"'


class Refused(Exception):
    """This machine lends no network namespaces."""


class Network:
    """Addresses of a /24 that no real network has (RFC 2544); its servers live in the machine's own namespace."""

    _numbers = count(1)

    def __init__(self) -> None:
        self._prefix = self._unused()
        self.address = f"{self._prefix}.254"  # where servers listen; on no cable, so that no cut takes it away
        self._cables: list[Cable] = []
        _ip("address", "add", f"{self.address}/32", "dev", "lo")
        atexit.register(self.close)

    def _unused(self) -> str:
        """Tests that were killed have left theirs behind."""
        taken = _ip("-oneline", "address", "show")
        return next(each for number in count(secrets.randbelow(100)) if (each := f"198.18.{number}") not in taken)

    def host(self, name: str) -> "Cable":
        """The cable to a new host."""
        number = len(self._cables)
        cable = Cable(name, f"bl{os.getpid()}-{next(self._numbers)}", f"{self._prefix}.{4 * number}")
        self._cables.append(cable)
        cable.lay()
        return cable

    def close(self) -> None:
        atexit.unregister(self.close)
        for cable in self._cables:
            cable.remove()
        _ip("address", "del", f"{self.address}/32", "dev", "lo")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Cable:
    """A host at its end. Once cut, what is sent at either end is lost without a word."""

    def __init__(self, name: str, device: str, subnet: str) -> None:
        self.name = name
        self._device = device  # ours, and its namespace's
        head, _, last = subnet.rpartition(".")
        self._ours, self.address = (f"{head}.{int(last) + part}" for part in (1, 2))

    def lay(self) -> None:
        there = ("-n", self._device)
        _ip("netns", "add", self._device)
        _ip("link", "add", self._device, "type", "veth", "peer", "name", "eth0", "netns", self._device)
        _ip("address", "add", f"{self._ours}/30", "dev", self._device)
        _ip("link", "set", self._device, "up")
        _ip(*there, "address", "add", f"{self.address}/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip(*there, "link", "set", device, "up")
        _ip(*there, "route", "add", "default", "via", self._ours)

    def remove(self) -> None:
        for what in (("link", "del", self._device), ("netns", "del", self._device)):
            with suppress(Refused):
                _ip(*what)

    def command_there(self, command: Sequence[str]) -> list[str]:
        """Becomes that command, on the host."""
        return ["ip", "netns", "exec", self._device, "unshare", "--uts", "sh", "-c", _NAMED, self.name, *command]

    def cut(self) -> None:
        _ip("link", "set", self._device, "down")

    def mend(self) -> None:
        _ip("link", "set", self._device, "up")


class Proxy:
    """A cable to one port of this machine, for whoever connects to the proxy's. Once cut, it takes whatever comes and
    delivers it when it is mended, as TCP would."""

    name = "a proxy"

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = free_port()
        self._open = threading.Event()
        self._open.set()
        self._over = ExitStack()
        self._server = self._over.enter_context(socket.create_server(("127.0.0.1", self.port)))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.set()
        self._over.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client = self._server.accept()[0]
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.wait()
        with client, suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as target:
            self._carry(client, target)

    def _carry(self, one: socket.socket, two: socket.socket) -> None:
        other = {one: two, two: one}
        with selectors.DefaultSelector() as ready:
            for end in other:
                ready.register(end, selectors.EVENT_READ)
            while True:
                ends = [key.fileobj for key, _ in ready.select()]
                self._open.wait()
                for end in ends:
                    assert isinstance(end, socket.socket)
                    some = end.recv(65_536)
                    if not some:
                        return
                    other[end].sendall(some)


def _ip(*arguments: str) -> str:
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Refused("there is no `ip` here, of the package iproute2") from None
    if done.returncode:
        raise Refused(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
