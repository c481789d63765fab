"""`ballast`, and `python -m ballast`: the command line, which is no part of the client. It is found from here, since
this package has a name of its own: another `api` in PYTHONPATH would be taken for ours.
"""

import sys
from pathlib import Path


def main() -> None:
    # In a clone this folder is api/client, elsewhere a neighbour of api.
    sys.path.insert(0, next(str(each) for each in Path(__file__).parents if (each / "api" / "cli").is_dir()))
    from api.cli import ballast

    ballast()


if __name__ == "__main__":
    main()
