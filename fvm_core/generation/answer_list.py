"""The prompts that were asked so far. No torch here: pages read it."""

from __future__ import annotations

from typing import Any

from fvm_core.errors import DataError
from fvm_core.files import read_json
from fvm_core.generation.store import generation_folder
from fvm_core.workspace import Workspace

NEEDED = {"key", "prompt", "answer", "model", "methods", "created"}


def list_answers(workspace: Workspace, *, most: int = 50) -> list[dict[str, Any]]:
    """Return what answer.json says of each asked prompt, the newest first; damaged ones are left out."""
    found = []
    for path in generation_folder(workspace, "answers").glob("[!.]*/answer.json"):
        try:
            value = read_json(path, what="the answer")
        except DataError:
            continue
        if isinstance(value, dict) and set(value) >= NEEDED and value["key"] == path.parent.name:
            found.append(value)
    return sorted(found, key=lambda value: str(value["created"]), reverse=True)[:most]
