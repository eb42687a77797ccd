"""A cheap key for what a spec would open now: for caches in memory, never for provenance."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from fvm_core.data.dataset import DatasetSpec

MAX_ENTRIES = 20_000


def spec_stamp(spec: DatasetSpec) -> str:
    """Return a string that changes when the spec or a file it names does: size and modification time, no content.

    Of a folder it takes number, total size and newest time of all below it, up to the first MAX_ENTRIES entries. Images
    that a manifest names are not looked at. What is missing is part of the stamp; nothing is raised.

    >>> spec_stamp(DatasetSpec("digits")) == spec_stamp(DatasetSpec("digits"))
    True
    """
    parts = [json.dumps(spec.to_json(), sort_keys=True, default=repr)]
    before = spec.options.get("corrections_before")
    label_file, root = spec.options.get("label_file"), spec.options.get("root")
    files = [spec.path, spec.corrections, spec.include, spec.exclude, label_file]
    files += before if isinstance(before, list | tuple) else []
    parts += [_stamp(str(path)) for path in files if path]
    parts += [_one(Path(str(root)).expanduser())] if root else []
    parts += [spec_stamp(DatasetSpec.from_json(part)) for part in spec.options.get("parts", ())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _stamp(text: str) -> str:
    path = Path(text).expanduser()
    return _below(path) if os.path.isdir(path) else _one(path)


def _one(path: Path) -> str:
    try:
        state = path.stat()
    except (OSError, ValueError):
        return "missing"
    return f"{state.st_ino} {state.st_size} {state.st_mtime_ns}"


def _below(path: Path) -> str:
    count = size = newest = 0
    pending = [os.fspath(path)]
    while pending:
        current = pending.pop()
        try:
            newest = max(newest, os.stat(current).st_mtime_ns)
            with os.scandir(current) as entries:
                for entry in entries:
                    count += 1
                    if count > MAX_ENTRIES:
                        return f"{count} {size} {newest}"
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        state = entry.stat()
                        size, newest = size + state.st_size, max(newest, state.st_mtime_ns)
        except OSError:
            count += 1
    return f"{count} {size} {newest}"
