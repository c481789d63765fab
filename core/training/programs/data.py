"""Data made ready on purpose, before an experiment fails for want of it: what `ballast data` starts.

python -P -m core.training.programs.data {fetch,check} NAME --data-dir DIR --locks-dir DIR [--json]
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from core.spec import FOLDER_NAMES, AnyPoints, FolderName
from core.streams import print_error, printable
from core.training import folders, synthetic, vision
from core.training.errors import BadData
from core.training.programs.ending import DONE, FAILED, USAGE, exit_code

_DRAWN = ("two_gaussians", "moons", "blobs")
_KNOWN = ("digits", *vision.CLASSES, *_DRAWN, "points")

Counts = dict[str, dict[str, int]]  # training and test set: images by class
Report = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    options = _options(arguments)
    return exit_code(partial(_fetch if options.what == "fetch" else _check, options))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="core.training.programs.data", description="Make data ready before it is needed."
    )
    parser.add_argument("what", choices=["fetch", "check"])
    parser.add_argument("name", help=f"{', '.join(_KNOWN)}, or for check a folder under folders/ of the data directory")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--locks-dir", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def _fetch(options: argparse.Namespace) -> int:
    """Raises BadData where it can be neither read nor downloaded."""
    if options.name not in _KNOWN:
        print_error(f"{options.name!r} is no data set that can be fetched: there are {', '.join(_KNOWN)}")
        return USAGE
    if options.name in vision.CLASSES:  # the digits are inside scikit-learn
        vision.read(options.name, options.data_dir, options.locks_dir)
    return _print_report(_report(options), options.json)


def _check(options: argparse.Namespace) -> int:
    if not _is_name(options.name):
        print_error(f"{options.name!r} is no name of a folder: {FOLDER_NAMES}")
        return USAGE
    return _print_report(_report(options), options.json)


def _report(options: argparse.Namespace) -> Report:
    if options.name not in _KNOWN:
        return _folder(options.name, options.data_dir)
    try:
        sets = _counts(options.name, options.data_dir)
    except BadData as error:
        return _report_of(options.name, {}, problems=[str(error)])
    return _report_of(options.name, sets)


def _counts(name: str, data_dir: Path) -> Counts:
    if name == "digits":
        from sklearn.datasets import load_digits

        return {"all": _by_class(load_digits().target)}
    if name in _DRAWN:
        train_points, test_points = synthetic.read(TypeAdapter(AnyPoints).validate_python({"name": name}))
        return {"train": _by_class(train_points.labels), "test": _by_class(test_points.labels)}
    if name == "points":
        return {}
    train, test = vision.read_without_download(name, data_dir)
    return {"train": _by_class(train[1].numpy()), "test": _by_class(test[1].numpy())}


def _by_class(labels: Any) -> dict[str, int]:
    return {str(label): int(n) for label, n in zip(*np.unique(labels, return_counts=True), strict=True)}


def _folder(name: str, data_dir: Path) -> Report:
    try:
        root = folders.folder_named(data_dir / "folders", TypeAdapter(FolderName).validate_python(name))
    except BadData as error:
        return _report_of(name, {}, problems=[str(error)])
    if not root.is_dir():
        there = sorted(entry.name for entry in root.parent.iterdir() if entry.is_dir()) if root.parent.is_dir() else []
        missing = f"there is no data set and no folder {root}"
        if name == "image_folder":
            missing = f"an image_folder is checked by the name of the folder, and there is no {root}"
        return _report_of(name, {}, problems=[f"{missing} (folders there: {', '.join(there) or 'none'})"])
    train, test = folders.check(root / "train"), folders.check(root / "test")
    problems = train.problems + test.problems
    if not train.problems and len(train.classes) < 2:
        problems.append(f"{root / 'train'} needs at least two classes: a folder for each")
    for each in dict.fromkeys([*train.classes, *test.classes]):
        if not _is_name(each):
            problems.append(f"no spec can name the class {each!r}: rename its folders ({FOLDER_NAMES})")
    without_test = [each for each in train.classes if each not in test.classes]
    if without_test and not test.problems:
        problems.append(f"{', '.join(without_test)}: no such class in {root / 'test'}, so it cannot be a trained class")
    unreadable = [
        {"file": str(file.relative_to(data_dir)), "reason": reason}
        for file, reason in train.unreadable + test.unreadable
    ]
    return _report_of(name, {"train": train.classes, "test": test.classes}, unreadable, problems)


def _is_name(name: str) -> bool:
    """As in a spec: it stays inside of the data directory."""
    try:
        TypeAdapter(FolderName).validate_python(name)
    except ValidationError:
        return False
    return True


def _report_of(
    name: str, sets: Counts, unreadable: list[dict[str, str]] | None = None, problems: list[str] | None = None
) -> Report:
    return {
        "name": name,
        "ok": not unreadable and not problems,
        "sets": sets,
        "unreadable": unreadable or [],
        "problems": problems or [],
    }


def _print_report(report: Report, as_json: bool) -> int:
    if as_json:
        print(json.dumps(report, indent=2))
        return DONE if report["ok"] else FAILED
    for name, classes in report["sets"].items():
        print(printable(f"{report['name']} {name}: " + ", ".join(f"{each} {n}" for each, n in classes.items())))
    for each in report["unreadable"]:
        print_error(f"{each['file']} cannot be read as an image ({each['reason']}): replace or remove it")
    for problem in report["problems"]:
        print_error(problem)
    if report["ok"]:
        print(f"{report['name']} is ready{_where_from(report['name'])}")
    return DONE if report["ok"] else FAILED


def _where_from(name: str) -> str:
    """Of what is neither downloaded nor read from the data directory."""
    if name in _DRAWN:
        return ": it is drawn from the seed in the spec, and nothing is fetched or read"
    if name == "points":
        return ": the spec itself holds them, and nothing is fetched or read"
    return ""


if __name__ == "__main__":
    sys.exit(main())
