"""Where the tests find the real MNIST: `BALLAST_TEST_DATA`, the folder `shared/data` beside the clone, or else the
clone's own `.data`, into which torchvision then downloads it.
"""

import os
from pathlib import Path

_CLONE = Path(__file__).parents[1]
_SHARED = _CLONE.parent / "shared" / "data"

DATA = Path(os.environ.get("BALLAST_TEST_DATA") or (_SHARED if _SHARED.is_dir() else _CLONE / ".data"))
