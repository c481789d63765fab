"""`python -P -m worker`: what `ballast worker` and `ballast up` start."""

import argparse
import os
import signal
import sys

_USAGE = 2  # api/README.md, "Exit codes"


def main() -> None:
    # Until it serves, Ctrl-C ends it at once and without a traceback: even while it imports, worker.ending too.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    from core import logs
    from core.broker.doorbell import Doorbell
    from core.errors import BallastError
    from core.opening import open_store, warn_of_checkpoints
    from core.settings import load_settings
    from core.streams import prepare_streams, print_error, print_line
    from worker import devices
    from worker.capacity import capacity
    from worker.launch import Launcher

    parser = argparse.ArgumentParser(prog="python -P -m worker", description="Train what is queued.")
    parser.add_argument("--devices", help="all, cpu, cuda:N or cuda:N,cuda:M; by default BALLAST_DEVICE")
    parser.add_argument("--processes", type=int, help="on the CPU or one GPU; with auto devices at most so many GPUs")
    parser.add_argument("--leash", action="store_true", help="leave when standard input ends")
    arguments = parser.parse_args()
    prepare_streams()
    try:
        settings = load_settings()
        logs.configure(settings)
        planned = devices.plan(settings.device if arguments.devices is None else arguments.devices, arguments.processes)
        open_store(settings).close()
        Doorbell(settings).check()
        warn_of_checkpoints(settings)
        print_line(devices.in_words(planned))
        if planned[0].name == "cpu" and arguments.processes is None and (found := capacity()).short_of_memory:
            print_line(f"no more than these, for want of memory: {found}")
        served = Launcher(settings, planned).run(on_leash=arguments.leash)
    except BallastError as error:
        print_error(str(error))
        sys.exit(_USAGE if isinstance(error, devices.DevicesMistyped) else 1)
    sys.exit(0 if served else 1)


if __name__ == "__main__":
    main()
