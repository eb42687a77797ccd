"""The job that turns somebody's weights file into a model of the workspace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.errors import CheckpointError, FVMError, StorageError
from fvm_core.files import slug
from fvm_core.jobs.context import JobContext
from fvm_core.jobs.find import find_jobs
from fvm_core.models.build import build_model
from fvm_core.models.checkpoint import SPEC_KEY, load_into, read_state, save_model
from fvm_core.models.infer import guess_classes, infer_spec, spec_for
from fvm_core.models.safetensors_file import looks_like_safetensors, read_metadata
from fvm_core.models.spec import NORMALISATIONS, ModelSpec
from fvm_core.models.store import ModelRecord, model_folder, read_record
from fvm_core.provenance import now
from fvm_core.workspace import Workspace


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Read, check and store the weights file `args["upload"]` as model `args["name"]`. Job of kind `import_model`.

    A file in the workspace's uploads is removed at the end, imported or refused, files elsewhere stay; `args["file"]`
    is the name that the person knows it by. `args["spec"]` may set any field of ModelSpec; what it leaves out comes
    from the file or the architecture.
    `args["allow_custom"]` (set by the command line only) permits `custom:module:callable`.

    Returns {"model", "spec", "inferred": whether the tensors told the architecture, "parameters"}.

    Raises:
        CheckpointError: see `read_state`, `load_into`; the architecture cannot be told; the name is taken; an upload
            that an earlier run of the job removed.
    """
    try:
        result = _import(context, args, workspace)
    except StorageError:
        raise
    except FVMError:
        _drop_upload(context, Path(args["upload"]), workspace)
        raise
    _drop_upload(context, Path(args["upload"]), workspace)
    return result


def _import(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    name = slug(str(args["name"]))
    path = Path(args["upload"])
    file = str(args.get("file") or path.name)
    job, folder = context.folder.name, model_folder(workspace, name)
    if (folder / "model.json").exists():
        if (record := read_record(workspace, name)).job == job:
            return _result(record, inferred=False)
        raise CheckpointError(f"there is already a model named {name!r}. Choose another name.")
    if path.parent == workspace.uploads and not path.exists():
        raise CheckpointError(f"the upload `{file}` is not kept after an import. Upload it again on the Load page.")
    allow_custom = args.get("allow_custom") is True
    context.progress(0, 4, "reading the file")
    try:
        state = read_state(path)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(path.name, file)) from error
    context.progress(1, 4, "finding the architecture")
    spec, inferred = describe(state, args.get("spec") or {}, known=_own_spec(path))
    context.progress(2, 4, f"checking the weights against {spec.arch}")
    model = build_model(spec, allow_custom=allow_custom)
    load_into(model, state, what=f"the weights in `{file}`")
    probe(model.eval(), spec)
    context.progress(3, 4, "saving")
    created = now()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    record = ModelRecord(
        name,
        "imported",
        spec,
        settings={"file": file},
        metrics={"parameters": parameters},
        job=job,
        created=created,
    )
    save_model(folder, model, record)
    context.progress(4, 4, "imported")
    return _result(record, inferred=inferred)


def _drop_upload(context: JobContext, path: Path, workspace: Workspace) -> None:
    """Remove a file that a browser brought, unless another import is to read it."""
    others = find_jobs(workspace, "import_model", upload=str(path))
    if path.parent == workspace.uploads and not any(job.active and job.id != context.folder.name for job in others):
        path.unlink(missing_ok=True)


def _result(record: ModelRecord, *, inferred: bool) -> dict[str, Any]:
    parameters = record.metrics.get("parameters")
    return {"model": record.name, "spec": record.spec.to_json(), "inferred": inferred, "parameters": parameters}


def describe(
    state: Mapping[str, Tensor], overrides: Mapping[str, Any], *, known: ModelSpec | None = None
) -> tuple[ModelSpec, bool]:
    """Return the description of the model behind `state`, and whether its architecture came from the file.

    In this order: `overrides`, `known` (the file's own description), the tensors.

    Raises:
        CheckpointError: the architecture or the number of classes can be told from neither; the class names do not
            match the number of classes.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    given = {key: value for key, value in overrides.items() if value not in (None, "", [], ())}
    arch = given.get("arch")
    found = known if known and arch in (None, known.arch) else spec_for(arch, shapes) if arch else infer_spec(shapes)
    if found is None and not arch:
        raise CheckpointError(
            "the architecture cannot be told from these tensors: no built-in or torchvision classifier has exactly "
            "their names and shapes. Choose it (`arch`), or use custom:module:callable on the command line."
        )
    if found is None:
        found = _usual(str(arch), guess_classes(shapes), given)
    spec = ModelSpec.from_json({**found.to_json(), **given})
    if spec.class_names and len(spec.class_names) != spec.num_classes:
        raise CheckpointError(
            f"`class_names` must hold {spec.num_classes} names, one for each output of the model, "
            f"got {len(spec.class_names)}. Name each class, in the order of the outputs."
        )
    return spec, arch is None


def _usual(arch: str, classes: int | None, given: Mapping[str, Any]) -> ModelSpec:
    if classes is None and "num_classes" not in given:
        raise CheckpointError("`num_classes` cannot be told from these tensors. Give the number of classes.")
    torchvision = arch.startswith("torchvision:")
    mean, std = NORMALISATIONS["imagenet" if torchvision else "cifar10" if arch.startswith("cifar_") else "none"]
    return ModelSpec(arch, classes or 2, image_size=224 if torchvision else 32, mean=mean, std=std)


def _own_spec(path: Path) -> ModelSpec | None:
    """Return the ModelSpec that `save_model` put into the file's header, if it is one of ours."""
    with open(path, "rb") as file:
        if not looks_like_safetensors(file.read(16)):
            return None
    try:
        return ModelSpec.from_json(json.loads(read_metadata(path)[SPEC_KEY]))
    except (KeyError, TypeError, ValueError, FVMError):
        return None


def probe(model: nn.Module, spec: ModelSpec) -> None:
    """Send two grey images through the model (in eval mode).

    Raises:
        CheckpointError: it cannot take images of this size, or does not give (2, num_classes) finite logits.
    """
    x = torch.zeros(2, spec.in_channels, spec.image_size, spec.image_size)
    try:
        with torch.no_grad():
            logits = model(x)
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise CheckpointError(
            f"{spec.arch} cannot take {spec.in_channels}-channel images of {spec.image_size} pixels ({error}). "
            "Choose the `image_size` and `in_channels` it was trained with."
        ) from error
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if not isinstance(logits, Tensor) or shape != (2, spec.num_classes) or not torch.isfinite(logits).all():
        raise CheckpointError(
            f"{spec.arch} must give finite logits of shape (2, {spec.num_classes}) for two images, got {shape}. "
            "Use a classifier whose output is one number a class."
        )
