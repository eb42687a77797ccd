"""The forms that a review can leave in: what each is called, whether images go with it, which module writes it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fvm_core.errors import ReviewError

if TYPE_CHECKING:
    from fvm_core.review.exports.bundle import Bundle

Tell = Callable[[int, int], None]
"""Called with (done, total); raises JobStopped to end the work."""

ROWS = {
    "all": "all images",
    "decided": "decided images only",
    "changed": "images whose label changed",
    "ids": "the images chosen above",
}


@dataclass(frozen=True)
class Form:
    """`suffix` of the file, "" for a folder. `images`: the images go along, so it is a job. `loads`: what reads it."""

    key: str
    title: str
    suffix: str
    images: bool
    writer: str
    loads: str


FORMS: dict[str, Form] = {
    form.key: form
    for form in (
        Form("csv", "CSV", ".csv", False, "tables:write_csv", "pandas.read_csv(FILE), or the Load page here"),
        Form("parquet", "Parquet", ".parquet", False, "tables:write_parquet", "pandas.read_parquet(FILE)"),
        Form(
            "cleanlab", "cleanlab issue table", ".parquet", False, "cleanlab_table:write",
            "CleanLearning().fit(X, labels, label_issues=pandas.read_parquet(FILE))",
        ),
        Form(
            "imagefolder", "ImageFolder (PNG)", "", True, "image_folder:write",
            'torchvision.datasets.ImageFolder("FOLDER/images")',
        ),
        Form(
            "huggingface", "Hugging Face datasets (Parquet)", "", True, "hugging_face:write",
            'datasets.load_dataset("parquet", data_files="FOLDER/data/*.parquet")',
        ),
        Form(
            "fiftyone", "FiftyOne", "", True, "fiftyone_folder:write",
            "fiftyone.Dataset.from_dir(FOLDER, dataset_type=fiftyone.types.FiftyOneImageClassificationDataset)",
        ),
        Form(
            "labelstudio", "Label Studio", "", True, "label_studio:write",
            "config.xml as labelling interface, images/ as local storage, tasks.json as import",
        ),
    )
}  # fmt: skip


def form_of(key: object) -> Form:
    """Return the form. Raises ReviewError for an unknown key."""
    if not isinstance(key, str) or key not in FORMS:
        raise ReviewError(f"`form` must be one of {list(FORMS)}, got {key!r}. Choose one of them.")
    return FORMS[key]


def write_form(form: Form, bundle: Bundle, target: Path, tell: Tell) -> dict[str, Any]:
    """Write `bundle` to `target`: a file of `form.suffix`, or an existing folder that a resumed call goes on to fill.

    Returns what there is to say: "samples" written and "unreadable" (id -> reason).
    """
    module, _, function = form.writer.partition(":")
    return getattr(importlib.import_module(f"fvm_core.review.exports.{module}"), function)(bundle, target, tell)
