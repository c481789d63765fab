"""The root of every error that Ballast raises on purpose. Each wing draws its own branch in its own `errors.py`.

BallastError                 a sentence for a person: what is wrong, and what to do
├── core.settings            SettingsError
├── core.opening             HomeUnusable
├── core.locks               NoLocks
├── core.broker.doorbell     BrokerUnreachable
├── core.reading             UnreadableSpec
├── core.sweep_faults        BadSweep
├── core.store.errors        StoreError …
├── core.training.errors     TrainingError …
├── worker.devices           DevicesMistyped, NoGpu
├── api.problems             RefusedQuery
├── api.service              CannotServe, CannotTrain
└── api.cli.errors           NotSucceeded …

`api.client`, which stands alone as the package `ballast`, has a tree of its own.
"""


class BallastError(Exception):
    """Something that a user can cause or mend. `str(error)` is one sentence, fit to be printed as it is."""
