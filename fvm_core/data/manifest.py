"""A table of paths and labels, CSV or Parquet: a million rows are a few tens of megabytes, whatever the images are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.ids import path_ids
from fvm_core.data.labels import encode_labels, parse_class_names
from fvm_core.data.paths import FileSource, check_paths
from fvm_core.data.tables import read_table, strings, table_columns
from fvm_core.errors import DataError

PATH_COLUMNS = ("path", "image", "file", "filename", "file_name", "image_path")
LABEL_COLUMNS = ("label", "class", "target", "noisy_label")
LOOK_AT = 20


def open_manifest(spec: DatasetSpec) -> LabeledImages:
    """Open a .csv, .tsv or .parquet table. Labels and paths come to memory; images are read one at a time.

    `spec.image` and `spec.label` name columns; empty takes the first of PATH_COLUMNS and LABEL_COLUMNS there is.
    Options: `root` (the folder that paths are relative to and must stay in; default: the table's folder),
    `class_names`, `id` (a column of unique ids; default: the path).

    Raises:
        DataError: not a table, no such column, bad labels, a path that leaves `root`, none of the first images there.
    """
    path = Path(spec.path).expanduser()
    names = table_columns(path)
    image = _choose(spec.image, PATH_COLUMNS, names, "image", path)
    label = _choose(spec.label, LABEL_COLUMNS, names, "label", path)
    id_column = str(spec.options.get("id", ""))
    others = [_choose(name, (), names, what, path) for name, what in
              ((spec.clean_label, "clean_label"), (id_column, "id")) if name]  # fmt: skip
    table = read_table(path, list(dict.fromkeys([image, label, *others])), text=[image, *filter(None, [id_column])])
    class_names = parse_class_names(spec.options.get("class_names"))
    clean = table[spec.clean_label] if spec.clean_label else None
    encoded = encode_labels(
        table[label], clean, names=class_names, what=label, clean_what=spec.clean_label or "clean_label"
    )
    root = os.path.realpath(Path(str(spec.options.get("root") or path.parent)).expanduser())
    paths = check_paths(root, strings(table[image], image), what=image)
    if not any(os.path.exists(os.path.join(root, name)) for name in paths.slice(0, LOOK_AT).to_pylist()):
        raise DataError(
            f"images must lie in `{root}`, but none of the first {min(LOOK_AT, len(paths))} does "
            f"(such as {paths[0].as_py()!r}). Set `root` to the folder that the paths start from."
        )
    ids, notes = path_ids(strings(table[id_column], id_column) if id_column else paths)
    rows = np.arange(len(paths), dtype=np.int64)
    source = FileSource(root, paths)
    notes = (*encoded.notes, *notes)
    return LabeledImages(spec, ids, encoded.labels, encoded.names, source, rows, encoded.clean, notes)


def _choose(name: str, usual: tuple[str, ...], columns: tuple[str, ...], what: str, path: Path) -> str:
    found = [name] if name else [column for column in usual if column in columns]
    if not found or found[0] not in columns:
        raise DataError(f"`{what}` must name a column of `{path}`, got {name!r}; it has {list(columns)}. Choose one.")
    return found[0]
