"""The Celery app of a worker: its one task, and the thread that does the same without being asked (worker/README.md,
"The shape")."""

import threading
from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery, bootsteps, signals

from core.broker.doorbell import TASK, celery_app
from core.settings import Settings
from worker.brokers import transport_options, worker_config
from worker.leave import Leave

log = structlog.get_logger()


def make_app(settings: Settings, run_queued: Callable[[], None], leave: Leave) -> Celery:
    """An app whose task and whose poll call `run_queued`, and whose end sets `leave`."""
    app = celery_app(settings, "ballast", transport_options(settings), **worker_config(settings))

    @app.task(name=TASK)
    def ring() -> None:
        run_queued()

    class Poll(bootsteps.StartStopStep):
        """Finds what a lost ring left. Belongs to the worker, not to its consumer: it starts before the broker is
        reached and outlives every reconnect."""

        requires = ("celery.worker.components:Pool",)

        def start(self, _parent: Any) -> None:
            threading.Thread(target=poll, name="poll", daemon=True).start()

        def close(self, parent: Any) -> None:
            leave.begin(parent.exitcode or 0)  # a remote shutdown sends no signal, nor does Celery when it fails

        def terminate(self, parent: Any) -> None:
            self.close(parent)

    def poll() -> None:
        while not leave.wait(0.3 if settings.embedded_broker else 1.0):
            run_queued()

    app.steps["worker"].add(Poll)
    signals.worker_shutting_down.connect(lambda **_: leave.begin(), weak=False)
    signals.setup_logging.connect(lambda **_: None, weak=False)  # who listens here keeps Celery's hands off logging
    return app
