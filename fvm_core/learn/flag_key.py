"""What decides the terms behind a score. No torch here: the page looks for the file by it."""

from __future__ import annotations

from fvm_core.influence.explanations import Question
from fvm_core.learn.settings import FlagSettings
from fvm_core.provenance import digest, version


def flag_key(question: Question, settings: FlagSettings) -> str:
    """Return the key of the file with the terms of the image that `question` names (its label plays no part)."""
    asked = {**question.__dict__, "label": None}
    return digest([asked, settings.to_json(), version()])[:32]
