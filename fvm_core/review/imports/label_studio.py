"""Label Studio's exports, JSON and JSON-MIN, read back as corrected labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fvm_core.data.dataset import LabeledImages
from fvm_core.errors import DataError
from fvm_core.files import read_json
from fvm_core.review.exports.label_studio import CONTROL, choice

MAX_BYTES = 512 * 2**20


def read_label_studio(path: Path | str, dataset: LabeledImages) -> pd.DataFrame:
    """Return the columns id and label of the tasks that somebody answered, in the order of the file.

    Of several annotations of a task the one updated last counts; cancelled (skipped) ones do not. Tasks are known by
    `sample_id`, as the export for Label Studio writes it.

    Raises:
        DataError: no JSON of Label Studio's, tasks of another dataset, unknown ids or classes, a task with two choices.
    """
    if Path(path).stat().st_size > MAX_BYTES:
        raise DataError(f"`{path}` must be at most {MAX_BYTES >> 20} MiB. Export fewer tasks at a time.")
    tasks = read_json(path, what="Label Studio's export")
    if not isinstance(tasks, list) or not all(isinstance(task, Mapping) for task in tasks):
        raise DataError(f"`{path}` must be a list of tasks, as Label Studio exports them. Choose JSON or JSON-MIN.")
    known, classes = set(dataset.ids.tolist()), {choice(name): code for code, name in enumerate(dataset.class_names)}
    if len(classes) < dataset.num_classes:
        raise DataError("class names must differ in what XML can hold, but two do not. Rename a class.")
    found: dict[str, int] = {}
    for number, task in enumerate(tasks):
        data, answer = _answer(task)
        if answer is None:
            continue
        made_for = data.get("dataset_fingerprint", dataset.fingerprint)
        if made_for != dataset.fingerprint:
            raise DataError(
                f"`{path}` must be made for this dataset ({dataset.fingerprint[:12]}), but task {number} was made for "
                f"another ({made_for!s:.12}). Choose the dataset that was reviewed."
            )
        sample = data.get("sample_id")
        if sample not in known:
            raise DataError(
                f"`sample_id` of task {number} in `{path}` must be an id of the dataset, got {sample!r:.100}."
            )
        if len(answer) != 1 or answer[0] not in classes:
            raise DataError(
                f"task {number} in `{path}` must have one choice out of the {len(classes)} classes, got "
                f"{answer!r:.200}. Correct it in Label Studio and export again."
            )
        found[str(sample)] = classes[answer[0]]
    if not found:
        raise DataError(f"`{path}` must hold at least one answered task, but has none. Label some images first.")
    return pd.DataFrame({"id": list(found), "label": list(found.values())})


def _answer(task: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Any] | None]:
    """Return a task's data and its choices, None where nobody answered. JSON-MIN has both on one level."""
    if "data" not in task:
        chosen = task.get(CONTROL)
        return task, None if chosen is None else chosen.get("choices", []) if isinstance(chosen, dict) else [chosen]
    data = task["data"] if isinstance(task["data"], Mapping) else {}
    made = [one for one in task.get("annotations") or () if isinstance(one, Mapping)]
    made = [one for one in made if not one.get("was_cancelled") and one.get("result")]
    if not made:
        return data, None
    latest = max(made, key=lambda one: str(one.get("updated_at") or one.get("created_at") or ""))
    results = [one for one in latest["result"] if isinstance(one, Mapping) and one.get("from_name") == CONTROL]
    values = [one["value"].get("choices", []) for one in results if isinstance(one.get("value"), Mapping)]
    return data, [name for choices in values for name in choices]
