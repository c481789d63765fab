"""One worker process: one device, one Celery worker, one experiment at a time. Started by the launcher, on a leash."""

import argparse
import os
import socket
import sys
import threading
import time
import warnings

import structlog
import torch
from celery.exceptions import SecurityWarning

from core import logs
from core.errors import BallastError
from core.settings import Settings, load_settings
from core.store import workers
from core.store.files import Files
from core.store.session import Store
from core.streams import print_error
from core.tokens import WORKER
from core.training import DeviceUnusable, devices
from worker.app import make_app
from worker.ending import DEVICE_UNUSABLE, NOT_IN_TIME, end_process
from worker.gpu import GpuMeter
from worker.heartbeat import Heartbeat
from worker.leave import Leave
from worker.loop import Loop
from worker.reconciler import Reconciler
from worker.runner import Runner
from worker.threads import every

log = structlog.get_logger()

HUNG_SECONDS = 30  # without an end of any transaction; the heartbeat's are short


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -P -m worker.process", description=__doc__)
    parser.add_argument("--device", required=True, help="cpu or cuda:N, as torch calls it here")
    parser.add_argument("--name", required=True, help="what people call it: here each GPU is cuda:0")
    parser.add_argument("--slot", required=True, type=int, help="its place in the launcher, fixed through restarts")
    arguments = parser.parse_args()
    settings = load_settings()
    logs.configure(settings, slot=arguments.slot, device=arguments.name)
    torch.set_num_threads(settings.threads)
    warnings.filterwarnings("ignore", category=SecurityWarning)  # root in a container is common, and no pickle is read
    try:
        devices.require(arguments.device, arguments.name)  # before it claims what it cannot run
        work(settings, arguments.device, arguments.name, arguments.slot)
    except BallastError as error:
        print_error(str(error))
        sys.exit(DEVICE_UNUSABLE if isinstance(error, DeviceUnusable) else 1)  # of others, the launcher tries again


def work(settings: Settings, device: str, name: str, slot: int) -> None:
    """Serve `device` until told to leave. Ends the process."""
    leave = Leave()
    leave.on_end_of_input()
    store = Store(settings.database_url)
    with store.writing(WORKER) as tx:
        worker_id = workers.register(tx, socket.gethostname(), os.getpid(), name, devices.kind(device))
    uuid = devices.uuid(device)
    gpu = None if uuid is None else GpuMeter(uuid, settings.heartbeat_seconds)
    if gpu is not None:
        gpu.start()
    heartbeat = Heartbeat(store, settings, worker_id, leave, gpu)
    heartbeat.start()
    Reconciler(store, settings).start()
    every(1, "watchdog", lambda: store.cut_if_hung(HUNG_SECONDS))
    runner = Runner(store, Files(settings.checkpoint_url), settings, device, name)
    loop = Loop(store, settings, worker_id, leave, heartbeat, runner)

    def end_after_leaving() -> None:
        leave.wait()
        if not loop.wait_until_idle(settings.grace_seconds):
            log.error("did not stop in time: ends now, and the lease ends by itself", grace=settings.grace_seconds)
            end_process(NOT_IN_TIME)
        heartbeat.beat_now()
        time.sleep(0.5)  # Celery's own end takes so long on Redis; in a folder several seconds, for nothing
        end_process(leave.status)

    end = threading.Thread(target=end_after_leaving, name="end", daemon=True)
    end.start()
    log.info("ready", worker=worker_id)
    app = make_app(settings, loop.run_queued, leave)
    node = f"ballast-{slot}@{socket.gethostname()}"
    try:
        # Not through Celery's command line, whose options may come from APP, BROKER_URL or LOADER in the environment.
        app.Worker(hostname=node, loglevel="WARNING", quiet=True, without_gossip=True, without_mingle=True).start()
    finally:
        if leave.is_set():
            end.join()  # Celery may be done before we are


if __name__ == "__main__":
    main()
