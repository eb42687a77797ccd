"""The optional libraries of this package: imported where they are used, and asked for by their pip command."""

from __future__ import annotations

import importlib
from types import ModuleType

from fvm_core.errors import SettingsError

COMMAND = "python -m pip install -r fvm_core/generation/requirements.txt"


def need(name: str) -> ModuleType:
    """Import and return `transformers`, `peft`, `diffusers` or `tokenizers`, quiet and without progress bars.

    Raises:
        SettingsError: it is not installed; the message gives the command.
    """
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise SettingsError(
            f"`{name}` must be installed for this, but cannot be imported ({error}). Run: {COMMAND}"
        ) from error
    if name in ("transformers", "diffusers"):
        logging = importlib.import_module(f"{name}.utils.logging")
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    return module
