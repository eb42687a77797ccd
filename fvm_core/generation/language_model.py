"""A causal language model from a local folder of safetensors, with its tokenizer and a LoRA adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from fvm_core.errors import CheckpointError
from fvm_core.generation.language_task import LanguageTask
from fvm_core.generation.libraries import need
from fvm_core.generation.lora import load_adapter, new_adapter
from fvm_core.generation.memory import told_when_full
from fvm_core.generation.pairs import PairSet
from fvm_core.generation.settings import LanguageOptions, LoraSettings
from fvm_core.models.safetensors_file import check_header
from fvm_core.tuning.precision import pick_device

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
RANK, ALPHA, TARGETS = 8, 32.0, ("q_proj", "v_proj")
"""LoRA of B.2: on every query and value matrix."""


def open_task(
    base: Path, adapter: Path | None, pairs: PairSet, *, lora: LoraSettings, options: dict[str, Any]
) -> LanguageTask:
    """Return the model in `base` with the adapter (a new one shaped by `lora` if None) as a task over `pairs`.

    `options`: LanguageOptions as JSON.

    Raises:
        CheckpointError: a part is missing or damaged, or the adapter is for another base.
        DataError: pairs of images, or one longer than the context.
        SettingsError: an option out of range, memory that runs out, or a library that is missing.
    """
    chosen: LanguageOptions = LanguageOptions.from_json(options)
    model, tokenizer = load_language_model(base, dtype=chosen.dtype)
    own = int(getattr(model.config, "max_position_embeddings", 0) or 2048)
    if chosen.context is not None and chosen.context > own:
        raise CheckpointError(f"`context` must be at most the model's {own} tokens, got {chosen.context}. Lower it.")
    if adapter is None:
        rank, alpha = lora.rank or RANK, lora.alpha or ALPHA
        targets = lora.target_names or TARGETS
        tuned = new_adapter(model, rank=rank, alpha=alpha, targets=targets, seed=lora.seed, task="CAUSAL_LM")
    else:
        tuned = load_adapter(model, adapter)
    return LanguageTask(tuned.eval(), tokenizer, pairs, chosen.context or own, chosen.template)


def load_language_model(folder: Path | str, *, dtype: str = "auto", device: torch.device | None = None) -> Any:
    """Return (model in eval mode with every parameter frozen, tokenizer) from a folder in transformers' layout.

    Only safetensors are read, nothing is fetched, and no code of the folder is run. `dtype`: see LanguageOptions.

    Raises:
        CheckpointError: no such folder, no config, tokenizer or safetensors, a model that needs its own code or is no
            causal language model, damaged or incomplete weights, a tokenizer of more tokens than the model.
        SettingsError: a library is missing, or memory runs out.
    """
    folder, device = Path(folder).expanduser(), device or pick_device()
    transformers = need("transformers")
    _check_folder(folder)
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
        with told_when_full("the model's size (a smaller one), or set `dtype` to bf16"):
            model, info = transformers.AutoModelForCausalLM.from_pretrained(
                folder, use_safetensors=True, dtype=_dtype(dtype, device), output_loading_info=True, **local
            )
            model = model.to(device)
    except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError) as error:
        if isinstance(error, CheckpointError) or type(error).__module__.startswith("fvm_core"):
            raise
        raise CheckpointError(
            f"`{folder}` cannot be loaded as a causal language model ({error!s:.300}). Copy or convert it again."
        ) from error
    if missing := sorted(str(name) for name in info.get("missing_keys", ())):
        raise CheckpointError(
            f"the weights in `{folder}` lack {len(missing)} tensors of the model, `{missing[0]}` first. Copy it again."
        )
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows or tokenizer.eos_token_id is None:
        raise CheckpointError(
            f"the tokenizer in `{folder}` must have an end token and at most the model's {rows} tokens, got "
            f"{len(tokenizer)} and end token {tokenizer.eos_token!r}. Use the model's own tokenizer."
        )
    return model.eval().requires_grad_(False), tokenizer


def _dtype(name: str, device: torch.device) -> Any:
    """Return what `from_pretrained` takes: half precision is slow and coarse on a CPU."""
    if name != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"`{folder}` must be the folder of a transformers model with config.json, which is not there. Check it."
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise CheckpointError(
            f"`{folder}` must hold its weights as *.safetensors, and holds none. Convert them: other formats can run "
            "code and are not read."
        )
    for file in weights:
        check_header(file)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise CheckpointError(
            f"`{folder}` must hold the model's tokenizer ({', '.join(TOKENIZERS)}), and holds none. Copy it there."
        )
