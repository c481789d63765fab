"""A service over several hosts, each in a network namespace with an address and a name of its own: PostgreSQL and Redis
on the machine's, the API on one, workers on others, each host with the same share of a core.
"""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple, Self

from api.client import Client, ClientError
from core.states import State
from core.store import experiments, schema
from tests.chaos.cells import Cell
from tests.chaos.networks import Cable, Network
from tests.e2e.processes import COMMAND, Process, ballast
from tests.e2e.processes import running as running_process
from tests.integration.hosts import Host, launcher, running, settings_of
from tests.servers import Postgres, Redis, wait_until

_PORT = 8000  # each host has all ports to itself


class Training(NamedTuple):
    """A host that trains."""

    host: Host
    cable: Cable

    def trains(self) -> list[int]:
        """What its worker holds and has rows of."""
        with self.host.store.reading() as tx:
            running = experiments.list_newest(tx, state=State.RUNNING, limit=100)
        mine = f"{self.cable.name}:"
        return [each.id for each in running if (each.worker or "").startswith(mine) and each.attempt_epoch]


class Fleet:
    """With a service that is asked as its users ask it, from another host and with a token."""

    def __init__(self, network: Network, folder: Path) -> None:
        self._network = network
        self._folder = folder
        self._over = ExitStack()
        postgres = self._over.enter_context(Postgres(network.address))
        redis = self._over.enter_context(Redis(network.address))
        self.settings = {"database_url": postgres.url, "broker_url": redis.url}
        schema.upgrade(postgres.url)
        self.client = self._served(network.host("office"))

    def host(self, name: str, cores: float) -> Training:
        """Another one that trains: one worker, with so much of a core."""
        cable = self._network.host(name)
        cell = self._over.enter_context(Cell(cores))
        settings = settings_of(self._folder / name, **self.settings)
        # The cell outside: within a namespace /sys is another.
        host = Host(settings, command=cell.command_within(cable.command_there(launcher())))
        return Training(self._over.enter_context(running(host)), cable)

    def _served(self, office: Cable) -> Client:
        home = self._folder / office.name
        home.mkdir()
        made = ballast("token", "create", "students", home=home, **self.settings)
        assert made.returncode == 0, made.stderr
        api = Process(
            "api",
            log=home / "api.log",
            command=office.command_there([COMMAND]),
            home=home,
            host="0.0.0.0",
            port=_PORT,
            allowed_hosts=office.address,
            **self.settings,
        )
        self._over.enter_context(running_process(api))
        token = made.stdout.strip()
        client = self._over.enter_context(closing(Client(f"http://{office.address}:{_PORT}", token=token)))
        wait_until(lambda: api.popen.poll() is not None or _answers(client))
        assert api.popen.poll() is None, api.log_text()
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.close()


def _answers(client: Client) -> bool:
    try:
        client.workers()
    except ClientError:
        return False
    return True
