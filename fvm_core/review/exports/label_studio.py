"""Label Studio: tasks with predictions and annotations, the labelling interface, and the images as local storage."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

from fvm_core.files import write_json
from fvm_core.review.exports.bundle import Bundle
from fvm_core.review.exports.images import file_name, outcome, readable, write_images

CONTROL, OBJECT = "label", "image"
README = """Label Studio
1. Start it with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT set to the
   folder that holds this folder. This folder must keep its name: the tasks say {prefix}.
2. New project: paste config.xml into the labelling interface (code view).
3. Settings, cloud storage: add a local storage with the path of this folder's images/. Do not sync it.
4. Import tasks.json. Suggestions arrive as predictions, decisions as annotations.
5. Export as JSON or JSON-MIN and load that file on FVM Studio's Load page, under corrected labels.
"""


def interface(class_names: tuple[str, ...]) -> str:
    """Return the labelling interface: one image, one choice out of the classes. Names are escaped as XML.

    Characters that XML cannot hold become U+FFFD, in `choice` too, so that config and tasks agree.
    """
    view = xml.Element("View")
    xml.SubElement(view, "Image", name=OBJECT, value=f"${OBJECT}")
    choices = xml.SubElement(view, "Choices", name=CONTROL, toName=OBJECT, choice="single", showInline="true")
    for name in class_names:
        xml.SubElement(choices, "Choice", value=choice(name))
    return xml.tostring(view, encoding="unicode")


def choice(name: str) -> str:
    """Return a class name as XML can carry it."""
    return "".join(char if char in "\t\n\r" or (char >= " " and not _forbidden(char)) else "\ufffd" for char in name)


def write(bundle: Bundle, target: Path, tell: Any) -> dict[str, Any]:
    """Write `images/NUMBER.png`, `tasks.json`, `config.xml` and `README.txt`.

    `data` of a task: image, sample_id, given_label, method, dataset_fingerprint (how labels find their way back). A
    prediction is the suggested class; `score` is not set, for scores here are no confidences. An annotation is what a
    person decided; skipped and undecided images have none.
    """
    indices, names = bundle.indices.tolist(), bundle.dataset.class_names
    prefix = f"/data/local-files/?d={target.name}/images/"
    broken = write_images(bundle, target / "images", lambda row: file_name(indices[row]), tell)
    tasks = []
    for row, sample in readable(bundle, broken):
        data = {
            OBJECT: f"{prefix}{file_name(indices[row])}",
            "sample_id": sample["id"],
            "given_label": sample["given_name"],
            "method": sample["method"],
            "score": sample["score"] if math.isfinite(sample["score"]) else None,
            "dataset_fingerprint": sample["dataset_fingerprint"],
        }
        task: dict[str, Any] = {"data": data, "predictions": [], "annotations": []}
        if sample["suggested"] >= 0:
            version = f"fvm-studio {sample['method']}".strip()
            task["predictions"].append({"model_version": version, "result": [_result(names[sample["suggested"]])]})
        if sample["action"] not in ("", "skip"):
            task["annotations"].append({"result": [_result(sample["name"])], "ground_truth": False})
        tasks.append(task)
    write_json(target / "tasks.json", tasks)
    (target / "config.xml").write_text(interface(names), encoding="utf-8")
    (target / "README.txt").write_text(README.format(prefix=prefix), encoding="utf-8")
    return outcome(bundle, broken)


def _result(name: str) -> dict[str, Any]:
    return {"from_name": CONTROL, "to_name": OBJECT, "type": "choices", "value": {"choices": [choice(name)]}}


def _forbidden(char: str) -> bool:
    return "\ud800" <= char <= "\udfff" or char in "\ufffe\uffff"
