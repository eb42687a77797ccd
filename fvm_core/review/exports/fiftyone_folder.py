"""A folder that FiftyOne loads as `FiftyOneImageClassificationDataset`: data/ and labels.json."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from fvm_core.files import write_json
from fvm_core.review.exports.bundle import Bundle
from fvm_core.review.exports.images import file_name, outcome, readable, write_images


def write(bundle: Bundle, target: Path, tell: Any) -> dict[str, Any]:
    """Write `data/NUMBER.png` and `labels.json`.

    Each label is the reviewed class; what the reviewer saw and did are attributes of it: sample_id, given_label,
    suggested, action, reviewer, method, score, changed.
    """
    indices, names = bundle.indices.tolist(), bundle.dataset.class_names
    broken = write_images(bundle, target / "data", lambda row: file_name(indices[row]), tell)
    labels: dict[str, Any] = {}
    for row, sample in readable(bundle, broken):
        attributes = {
            "sample_id": sample["id"],
            "given_label": sample["given_name"],
            "suggested": names[sample["suggested"]] if sample["suggested"] >= 0 else None,
            "action": sample["action"] or "undecided",
            "reviewer": sample["reviewer"] or None,
            "method": sample["method"] or None,
            "score": sample["score"] if math.isfinite(sample["score"]) else None,
            "changed": sample["label"] != sample["given_label"],
        }
        labels[file_name(indices[row]).removesuffix(".png")] = {
            "label": sample["name"],
            "attributes": {key: value for key, value in attributes.items() if value is not None},
        }
    write_json(target / "labels.json", {"classes": list(names), "labels": labels})
    return outcome(bundle, broken)
