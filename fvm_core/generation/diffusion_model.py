"""A Stable Diffusion model from a local folder of safetensors: read as data, nothing is fetched."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fvm_core.errors import CheckpointError, DataError
from fvm_core.files import read_json
from fvm_core.generation.libraries import need
from fvm_core.models.safetensors_file import check_header

PIPELINE = "StableDiffusionPipeline"
DTYPE = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Diffusion:
    """The parts of a Stable Diffusion pipeline. `vae` is None for a model that works on pixels in [-1, 1].

    `unet` is the bare UNet2DConditionModel; LoRA is put into its layers, not around it.
    """

    unet: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any
    vae: Any

    @property
    def device(self) -> torch.device:
        return next(self.unet.parameters()).device

    @property
    def side(self) -> int:
        """Height and width of an image in pixels."""
        size = self.unet.config.sample_size
        size = size if isinstance(size, int) else size[0]
        return int(size * (2 ** (len(self.vae.config.block_out_channels) - 1) if self.vae is not None else 1))

    @property
    def channels(self) -> int:
        """Channels of an image: 3 with a VAE, else the UNet's own."""
        return 3 if self.vae is not None else int(self.unet.config.in_channels)

    @property
    def parameters(self) -> int:
        """How many numbers UNet, text encoder and VAE hold."""
        parts = [part for part in (self.unet, self.text_encoder, self.vae) if part is not None]
        return sum(parameter.numel() for part in parts for parameter in part.parameters())

    def to(self, device: torch.device | str) -> Diffusion:
        """Move every part to `device`, in place, and return the same model."""
        for part in (self.unet, self.text_encoder, self.vae):
            if part is not None:
                part.to(device)
        return self

    def pipeline(self, scheduler: Any = None) -> Any:
        """Return the parts as diffusers' pipeline (with another scheduler, if given), without a safety checker."""
        return need("diffusers").StableDiffusionPipeline(
            vae=self.vae, text_encoder=self.text_encoder, tokenizer=self.tokenizer, unet=self.unet,
            scheduler=scheduler or self.scheduler, safety_checker=None, feature_extractor=None,
            requires_safety_checker=False,
        )  # fmt: skip

    def tokens(self, prompts: list[str]) -> Tensor:
        """Return (b, context) token numbers, padded to the text encoder's context.

        Raises:
            DataError: a prompt that does not fit into it; nothing is cut.
        """
        context = int(self.text_encoder.config.max_position_embeddings)
        found = self.tokenizer(prompts, padding="max_length", max_length=context, truncation=False)["input_ids"]
        for prompt, numbers in zip(prompts, found, strict=True):
            if len(numbers) > context:
                raise DataError(
                    f"prompt must be at most {context} tokens long for this text encoder, got {len(numbers)} for "
                    f"{prompt!r:.120}. Shorten it; it is not cut."
                )
        return torch.tensor(found, device=self.device)

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> Tensor:
        """Return (b, context, width): the text encoder's last layer, as the UNet takes it."""
        return self.text_encoder(self.tokens(prompts))[0].to(self.unet.dtype)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Return what noise is laid on: the mean of the VAE's latents, scaled; without a VAE the pixels themselves.

        `pixels` (b, channels, side, side) in [-1, 1].
        """
        pixels = pixels.to(self.device, self.unet.dtype)
        if self.vae is None:
            return pixels
        return self.vae.encode(pixels.to(self.vae.dtype)).latent_dist.mode() * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Return (b, channels, side, side) fp32 pixels in [-1, 1]: the way back from `encode`."""
        if self.vae is not None:
            latents = self.vae.decode(latents / self.vae.config.scaling_factor, return_dict=False)[0]
        return latents.float().clamp(-1.0, 1.0)


def load_diffusion(folder: Path | str, *, device: torch.device | str = "cpu", dtype: str = "auto") -> Diffusion:
    """Return the model kept in `folder` in diffusers' layout (model_index.json, unet/, text_encoder/, tokenizer/,
    scheduler/, and vae/ unless the model works on pixels), in eval mode, every parameter frozen.

    Only safetensors and JSON are read, and no class is looked up by a name in them. A safety checker is left out.
    Memory: the files' sizes (half of them in bf16 and fp16): 4.3 GB for stable-diffusion-v1.5 in fp32.

    Raises:
        CheckpointError: no such folder, another kind of pipeline, a part that is missing (the tokenizer, say), damaged,
            or does not fit the others.
    """
    diffusers, transformers = need("diffusers"), need("transformers")
    root = Path(folder).expanduser()
    parts = _parts(root)
    for name in parts:
        for file in sorted((root / name).glob("*.safetensors")):
            check_header(file)
    if dtype == "auto":
        dtype = "fp32" if torch.device(device).type == "cpu" else "bf16"
    options = {"local_files_only": True, "use_safetensors": True, "torch_dtype": DTYPE[dtype]}
    unet = _weights(diffusers.UNet2DConditionModel, root / "unet", **options)
    text_encoder = _weights(transformers.CLIPTextModel, root / "text_encoder", **options)
    vae = _weights(diffusers.AutoencoderKL, root / "vae", **options) if "vae" in parts else None
    try:
        tokenizer = transformers.CLIPTokenizer.from_pretrained(root / "tokenizer", local_files_only=True)
        scheduler = diffusers.DDPMScheduler.from_pretrained(root / "scheduler", local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"tokenizer or scheduler of `{root}` cannot be read ({error}). Copy them again."
        ) from error
    diffusion = Diffusion(unet, text_encoder, tokenizer, scheduler, vae)
    _check_fit(diffusion, root)
    for part in (unet, text_encoder, vae):
        if part is not None:
            part.requires_grad_(False).eval()
    return diffusion.to(device)


def _parts(root: Path) -> list[str]:
    """Return the folders of the pipeline's parts, all of which are there."""
    index = root / "model_index.json"
    if not index.is_file():
        raise CheckpointError(
            f"`{root}` must be a folder of a Stable Diffusion pipeline with model_index.json. Check it."
        )
    described = _object(index)
    if described.get("_class_name") != PIPELINE:
        raise CheckpointError(
            f"`{root}` must hold a {PIPELINE}, got {described.get('_class_name')!r:.60}. Choose a Stable Diffusion 1 "
            "or 2, or one that this project trained."
        )
    parts = ["unet", "text_encoder", "tokenizer", "scheduler"]
    if described.get("vae") not in (None, [None, None]):
        parts.append("vae")
    for name in parts:
        if not (root / name).is_dir():
            raise CheckpointError(
                f"`{root}` must hold the folder `{name}`, which is not there. Copy the whole pipeline."
            )
    files = root / "tokenizer"
    forms = (("tokenizer.json",), ("vocab.json", "merges.txt"))
    if not any(all((files / name).is_file() for name in form) for form in forms):
        raise CheckpointError(
            f"`{files}` must hold the tokenizer (tokenizer.json, or vocab.json and merges.txt), and does not. Copy it."
        )
    return parts


def _weights(kind: Any, folder: Path, **options: Any) -> Any:
    if not any(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"`{folder}` must hold its weights as .safetensors, and holds none. Convert them: other formats can run "
            "code."
        )
    try:
        model, info = kind.from_pretrained(folder, output_loading_info=True, **options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"`{folder}` cannot be loaded ({str(error)[:300]}). Copy the pipeline again.") from error
    missing = sorted(str(name) for name in info.get("missing_keys", []))
    if missing:
        raise CheckpointError(
            f"the weights in `{folder}` lack {len(missing)} tensors of its config, `{missing[0]}` first. Copy it again."
        )
    return model


def _check_fit(diffusion: Diffusion, root: Path) -> None:
    unet, text = diffusion.unet.config, diffusion.text_encoder.config
    inputs = int(diffusion.vae.config.latent_channels) if diffusion.vae is not None else int(unet.in_channels)
    rules = (
        (unet.in_channels == unet.out_channels == inputs, f"`unet` must have {inputs} channels in and out",
         f"{unet.in_channels} and {unet.out_channels}"),
        (diffusion.vae is not None or inputs in (1, 3), "`unet` without a VAE must have 1 or 3 channels", f"{inputs}"),
        (unet.cross_attention_dim == text.hidden_size, f"`unet` must take texts of width {text.hidden_size}",
         f"{unet.cross_attention_dim}"),
        (len(diffusion.tokenizer) <= text.vocab_size, f"`tokenizer` must have at most {text.vocab_size} tokens",
         f"{len(diffusion.tokenizer)}"),
        (diffusion.scheduler.config.prediction_type in ("epsilon", "v_prediction"),
         "`prediction_type` of the scheduler must be epsilon or v_prediction",
         f"{diffusion.scheduler.config.prediction_type}"),
        (bool(unet.sample_size), "`sample_size` of the UNet must be set", f"{unet.sample_size}"),
    )  # fmt: skip
    for holds, rule, got in rules:
        if not holds:
            raise CheckpointError(f"{rule}, got {got} in `{root}`. The parts belong to different models.")


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path, what="the description")
    if not isinstance(value, dict):
        raise CheckpointError(f"`{path}` must be a JSON object, got {json.dumps(value)[:60]}. Copy it again.")
    return value
