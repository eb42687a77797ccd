"""Run by a Python that has FiftyOne: `fiftyone_check.py FOLDER` reads an export with FiftyOne's own importer of image
classification datasets (no database is started) and prints what it found as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fiftyone.utils.data import FiftyOneImageClassificationDatasetImporter

with FiftyOneImageClassificationDatasetImporter(dataset_dir=sys.argv[1]) as found:
    labels = {Path(path).stem: (label.label, label["given_label"]) for path, _, label in found}
    json.dump({"classes": found.get_dataset_info()["classes"], "labels": labels}, sys.stdout)
