"""The image that the person looks at closely, larger than its thumbnail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.ids import IdIndex
from pages.ui.thumbnails import enlarged


def close_up(asked: Any, view: Any, dataset: LabeledImages, index: IdIndex) -> dict[str, Any] | None:
    """Return `{"id", "uri", "number"}` of the image that the browser asks for.

    `asked` is `{"id", "number"}`, and stays so in the browser's state; `view["closeUp"]` is the number that the browser
    has got. None where it asks for none, has it, or it cannot be read (its card says so already).
    """
    sample, number = (asked.get("id"), asked.get("number")) if isinstance(asked, Mapping) else (None, None)
    if not isinstance(sample, str) or (isinstance(view, Mapping) and view.get("closeUp") == number):
        return None
    row = int(index.find([sample])[0])
    uri = enlarged(dataset, dataset.fingerprint, row)[0] if row >= 0 else ""
    return {"id": sample, "uri": uri, "number": number} if uri else None
