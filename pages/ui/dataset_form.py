"""The form that describes a dataset, whatever its kind: where it lies and which parts of it are images and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import streamlit as st

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.manifest import LABEL_COLUMNS, PATH_COLUMNS
from fvm_core.data.npz import IMAGES, LABELS, npz_headers
from fvm_core.data.parquet import parquet_columns
from fvm_core.data.tables import table_columns
from fvm_core.workspace import Workspace
from pages.ui.upload import keep_upload

KINDS = {
    "parquet": "Parquet file with the images inside",
    "cifar10n": "CIFAR-10N",
    "cifar100n": "CIFAR-100N",
    "folder": "Folder with a folder for each class",
    "manifest": "Table of paths and labels (CSV, Parquet)",
    "npz": "NPZ arrays",
    "digits": "Handwritten digits (built in)",
}
NOISE = {
    "cifar10n": ("worse", "aggre", "random1", "random2", "random3", "clean"),
    "cifar100n": ("noisy", "clean"),
}
NONE = "none"


def dataset_form(workspace: Workspace, *, key: str, clean: bool = False) -> DatasetSpec | None:
    """Draw the fields of one dataset. Returns its spec, or None while a field is still empty.

    `clean` proposes the clean split and labels. `key` keeps the widgets of two forms apart.

    Raises:
        DataError: the file that was named cannot be read.
    """
    kind = st.selectbox(
        "Kind of dataset", list(KINDS), format_func=KINDS.__getitem__, key=f"{key}_kind", persist_state="session"
    )
    draw: dict[str, Callable[[Workspace, str, bool], DatasetSpec | None]] = {
        "parquet": _parquet,
        "folder": _folder,
        "manifest": _manifest,
        "npz": _npz,
        "digits": _digits,
    }
    if kind in NOISE:
        return _cifar(workspace, key, clean, kind)
    return draw[kind](workspace, key, clean)


def suggest_name(spec: DatasetSpec, *, clean: bool, uploaded: str = "") -> str:
    """Return a name to start from; `uploaded` is the name that the person's browser gave for the file, if any.

    >>> suggest_name(DatasetSpec("cifar10n", path="/data", label="worse"), clean=False)
    'cifar10n-worse'
    >>> suggest_name(DatasetSpec("digits", label="noisy", options={"split": "train"}), clean=False)
    'digits-noisy-30'
    """
    if spec.kind == "digits":
        parts = ["digits"] if spec.options.get("split") == "train" else ["digits-validation"]
        parts += [spec.label] + ([f"{float(spec.options.get('rate', 0.3)):.0%}"] if spec.label == "noisy" else [])
        return "-".join(parts).rstrip("%")
    if spec.kind in NOISE:
        return f"{spec.kind}-{'test' if spec.options.get('split') == 'test' else spec.label}"
    stem = Path(uploaded or spec.path).stem
    return f"{stem}-{'clean' if clean else spec.label}".strip("-")


def place(workspace: Workspace, key: str, *, types: Sequence[str], label: str, example: str) -> str:
    """Draw `path_or_upload` and keep an upload in the workspace. Returns the path, or "" while there is none.

    Raises:
        DataError: an upload of another type. StorageError: the disk refused it.
    """
    found = path_or_upload(key, types=types, label=label, example=example)
    return found if isinstance(found, str) else str(keep_upload(workspace, found))


def path_or_upload(key: str, *, types: Sequence[str], label: str, example: str) -> Any:
    """Draw the choice between a path on this machine and an upload.

    Returns the path as text, or the upload (with `name` and its bytes, not kept yet); "" while there is none.
    """
    how = st.segmented_control(
        "Where it is", ["path", "upload"], default="path", required=True, key=f"{key}_how", persist_state="session",
        format_func={"path": "On this machine", "upload": "Upload"}.__getitem__, label_visibility="collapsed",
    )  # fmt: skip
    if how == "upload":
        upload = st.file_uploader(label, type=list(types), key=f"{key}_upload")
        return upload if upload is not None else ""
    return _path(label, f"{key}_path", example)


def _path(label: str, key: str, example: str) -> str:
    text = st.text_input(label, placeholder=example, key=key, persist_state="session").strip()
    return str(Path(text).expanduser().absolute()) if text else ""


def _column(label: str, options: Sequence[str], usual: Sequence[str], key: str, *, optional: bool = False) -> str:
    """Draw a select box of columns that starts at the first usual one; "" when there is nothing to choose."""
    choices = [*([NONE] if optional else []), *options]
    if not choices:
        st.caption(f"{label}: the file has no column of that type.")
        return ""
    start = next((choices.index(name) for name in usual if name in choices), 0)
    value = st.selectbox(label, choices, index=start, key=f"{key}_{crc32(repr(options).encode())}")
    return "" if optional and value == NONE else str(value)


def _class_names(key: str) -> dict[str, Any]:
    text = st.text_input(
        "Class names, if the file has none", placeholder="airplane, car, bird, …", key=f"{key}_classes",
        help="In the order of the labels, separated by commas.",
    ).strip()  # fmt: skip
    return {"class_names": text} if text else {}


def _parquet(workspace: Workspace, key: str, clean: bool) -> DatasetSpec | None:
    path = place(
        workspace, key, types=["parquet"], label="Parquet file, or folder of them", example="/data/train.parquet"
    )
    if not path:
        return None
    offered = parquet_columns(path)
    st.caption(f"{offered.rows:,} rows, {len(offered.images)} image and {len(offered.labels)} label columns.")
    a, b, c = st.columns(3)
    with a:
        image = _column("Images", offered.images, ("image", "img"), f"{key}_image")
    noisy = [name for name in offered.labels if "clean" not in name]
    wanted = ("clean_label", "label", "fine_label") if clean else ("worse_label", "noisy_label", "label", *noisy)
    with b:
        label = _column("Given labels", offered.labels, wanted, f"{key}_label")
    with c:
        truth = _column(
            "True labels, if known", [name for name in offered.labels if name != label], ("clean_label",),
            f"{key}_clean", optional=True,
        )  # fmt: skip
    if not (image and label):
        return None
    return DatasetSpec("parquet", path, image, label, truth, options=_class_names(key))


def _cifar(workspace: Workspace, key: str, clean: bool, kind: str) -> DatasetSpec | None:
    title = KINDS[kind]
    file = "CIFAR-10_human.pt" if kind == "cifar10n" else "CIFAR-100_human.pt"
    folder = _path(f"Folder with the images and `{file}`", f"{key}_{kind}_path", "/data/cifar")
    a, b = st.columns(2)
    split = a.radio(
        "Split", ["train", "test"], index=1 if clean else 0, key=f"{key}_{kind}_split", horizontal=True,
        format_func={"train": "training", "test": "test (clean)"}.__getitem__,
    )  # fmt: skip
    noise = "clean"
    if split == "train":
        noise = b.selectbox(
            "Labels", NOISE[kind], index=len(NOISE[kind]) - 1 if clean else 0, key=f"{key}_{kind}_noise",
            help=f"Which of the human label sets of {title}.",
        )  # fmt: skip
    options: dict[str, Any] = {"split": split}
    if st.checkbox(
        "Download images that are missing", key=f"{key}_{kind}_download",
        help="About 170 MB, from the address that torchvision uses. The file of human labels must be put there by "
        "hand: noisylabels.com offers it.",
    ):  # fmt: skip
        options["download"] = True
        folder = folder or str(workspace.root / "downloads")
    return DatasetSpec(kind, folder, label=noise, options=options) if folder else None


def _folder(workspace: Workspace, key: str, clean: bool) -> DatasetSpec | None:
    path = _path("Folder above the classes", f"{key}_folder", "/data/birds")
    text = st.text_input(
        "Class names, in order", placeholder="cat, dog, …", key=f"{key}_folder_classes",
        help="Only if the classes must stand in another order than that of the sorted folder names, such as a model's.",
    ).strip()  # fmt: skip
    return DatasetSpec("folder", path, options={"class_names": text} if text else {}) if path else None


def _manifest(workspace: Workspace, key: str, clean: bool) -> DatasetSpec | None:
    path = place(
        workspace, key, types=["csv", "tsv", "parquet"], label="Table of paths and labels", example="/data/labels.csv"
    )
    if not path:
        return None
    names = table_columns(path)
    a, b, c = st.columns(3)
    with a:
        image = _column("Paths", names, PATH_COLUMNS, f"{key}_paths")
    with b:
        label = _column("Given labels", names, LABEL_COLUMNS, f"{key}_mlabel")
    with c:
        truth = _column("True labels, if known", names, ("clean_label",), f"{key}_mclean", optional=True)
    root = _path("Folder that the paths start from", f"{key}_root", "the table's own folder")
    options = {"root": root} if root else {}
    return DatasetSpec("manifest", path, image, label, truth, options={**options, **_class_names(key)})


def _npz(workspace: Workspace, key: str, clean: bool) -> DatasetSpec | None:
    path = place(workspace, key, types=["npz"], label="NPZ file", example="/data/arrays.npz")
    if not path:
        return None
    headers = npz_headers(path)
    images = [name for name, header in headers.items() if len(header.shape) >= 3]
    flat = [name for name, header in headers.items() if len(header.shape) == 1]
    a, b, c = st.columns(3)
    with a:
        image = _column("Images", images, IMAGES, f"{key}_images")
    with b:
        label = _column("Given labels", flat, LABELS, f"{key}_nlabel")
    with c:
        truth = _column("True labels, if known", flat, ("clean_labels", "clean"), f"{key}_nclean", optional=True)
    if not (image and label):
        return None
    return DatasetSpec("npz", path, image, label, truth, options=_class_names(key))


def _digits(workspace: Workspace, key: str, clean: bool) -> DatasetSpec | None:
    a, b, c = st.columns(3)
    split = a.radio(
        "Split", ["train", "validation"], index=1 if clean else 0, key=f"{key}_digits_split",
        format_func={"train": "training", "validation": "validation"}.__getitem__,
    )  # fmt: skip
    label = b.radio("Labels", ["noisy", "clean"], index=1 if split == "validation" else 0, key=f"{key}_digits_{split}")
    options: dict[str, Any] = {"split": split}
    if label == "noisy":
        rate = c.slider("Share of wrong labels", 0.0, 0.5, 0.3, 0.05, key=f"{key}_digits_rate", format="percent")
        options |= {} if rate == 0.3 else {"rate": rate}
    return DatasetSpec("digits", label=label, options=options)
