"""`python -P -m worker`: what `ballast worker` and `ballast up` start."""

import argparse
import os
import signal
import sys


def main() -> None:
    # Until it serves, Ctrl-C ends it at once and without a traceback.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from core import logs
    from core.doorbell import Doorbell
    from core.errors import BallastError
    from core.opening import open_store
    from core.settings import load_settings
    from worker import devices
    from worker.launch import Launcher

    parser = argparse.ArgumentParser(prog="python -P -m worker", description="Train what is queued.")
    parser.add_argument("--workers", type=int, help="processes; by default one a GPU, else one a core, at most 4")
    parser.add_argument("--leash", action="store_true", help="leave when standard input ends")
    arguments = parser.parse_args()
    try:
        settings = load_settings()
        logs.configure(settings)
        open_store(settings).close()
        Doorbell(settings).check()
        served = Launcher(settings, devices.plan(settings, arguments.workers)).run(on_leash=arguments.leash)
    except BallastError as error:
        sys.exit(f"ballast: {error}")
    sys.exit(0 if served else 1)


if __name__ == "__main__":
    main()
