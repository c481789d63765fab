"""What the extras named need, a line each, as `pyproject.toml` has it: for a layer of an image that a change of the
source does not make anew.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
print("\n".join([*project["dependencies"], *(line for extra in sys.argv[1:] for line in extras[extra])]))
