"""Run by a Python that has label-studio-sdk: `label_studio_check.py FOLDER` validates an export with the SDK's own
labelling interface and prints what it found as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from label_studio_sdk.label_interface import LabelInterface

folder = Path(sys.argv[1])
interface = LabelInterface((folder / "config.xml").read_text(encoding="utf-8"))
interface.validate()
tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
counts = {
    "tasks": sum(bool(interface.validate_task({"data": task["data"]})) for task in tasks),
    "predictions": sum(map(interface.validate_prediction, (one for task in tasks for one in task["predictions"]))),
    "annotations": sum(map(interface.validate_annotation, (one for task in tasks for one in task["annotations"]))),
}
json.dump({"labels": list(interface.get_control("label").labels), **counts}, sys.stdout)
