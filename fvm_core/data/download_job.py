"""The job that fetches the images of CIFAR and registers the dataset that they were fetched for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fvm_core.data.cifar import KINDS, has_images, label_path
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.download import fetch_images
from fvm_core.data.label_file import read_label_file
from fvm_core.data.registry import add_dataset, check_name, open_named
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.workspace import Workspace


def wants_download(spec: DatasetSpec) -> bool:
    """Return whether `spec` asks for images that its folder lacks."""
    return spec.kind in KINDS and spec.options.get("download") is True and not has_images(spec)


def without_wish(spec: DatasetSpec) -> DatasetSpec:
    """Return `spec` without the wish for a download: it says nothing about the dataset itself."""
    return replace(spec, options={key: value for key, value in spec.options.items() if key != "download"})


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Fetch the images of the CIFAR dataset `args["spec"]`, then add it as `args["name"]`. Job of kind `download`.

    Returns {"dataset": its name, "fingerprint", "samples", "folder"}. A stopped download goes on where it was.

    Raises:
        DataError: the name is taken or the label file is missing (both told before anything is fetched), the machine
            is offline, or the dataset cannot be opened with these images.
        StorageError: the disk refused.
    """
    spec = without_wish(DatasetSpec.from_json(args["spec"]))
    check_name(workspace, args["name"], spec)
    labels, folder = label_path(spec), Path(spec.path).expanduser()
    if labels is not None:
        read_label_file(labels)

    def report(done: int, total: int) -> None:
        told = f"{done >> 20} of {total >> 20} MiB" if total else f"{done >> 20} MiB"
        context.progress(done >> 20, total >> 20, told)
        if context.checkpoint():
            raise JobStopped

    fetch_images(spec.kind, folder, keep=context.folder, progress=report)
    context.progress(1, 1, "opening the dataset")
    name = add_dataset(workspace, args["name"], spec)
    dataset = open_named(workspace, name)
    return {"dataset": name, "fingerprint": dataset.fingerprint, "samples": len(dataset), "folder": str(folder)}
