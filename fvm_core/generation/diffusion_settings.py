"""Settings of the image side: how losses are drawn, the small UNet and its training. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from fvm_core.field_types import check_known, check_rules, check_types

DTYPES = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class _Plain:
    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Build from a mapping. Raises SettingsError for an unknown key or a value out of range."""
        check_known(cls, value)
        return cls(**{key: tuple(item) if isinstance(item, list) else item for key, item in value.items()})


@dataclass(frozen=True, kw_only=True)
class DiffusionSettings(_Plain):
    """How a diffusion model's losses are made, and how it draws an image.

    `draws` (time step, noise) pairs a sample, drawn from `seed` and the sample's id; with `common` from `seed` alone,
    the same for every sample. Cost and memory grow with `draws`, the noise in a score falls with it. A step of tuning
    draws `train_draws` of its own, anew each time. `dtype`: of the frozen base (auto: fp32 on a CPU, else bf16); LoRA's
    own weights are fp32. `steps` of the sampler and `guidance` (1: none) for generated images.
    """

    draws: int = 16
    common: bool = False
    train_draws: int = 1
    seed: int = 0
    dtype: str = "auto"
    steps: int = 20
    guidance: float = 3.0

    def __post_init__(self) -> None:
        check_types(self)
        rules = (
            (1 <= self.draws <= 1000, "draws", "from 1 to 1000"),
            (1 <= self.train_draws <= 1000, "train_draws", "from 1 to 1000"),
            (self.seed >= 0, "seed", ">= 0"),
            (self.dtype in DTYPES, "dtype", f"one of {DTYPES}"),
            (1 <= self.steps <= 1000, "steps", "from 1 to 1000"),
            (1.0 <= self.guidance <= 100.0, "guidance", "from 1 to 100"),
        )
        check_rules(self, rules)


@dataclass(frozen=True, kw_only=True)
class SmallUnetSettings(_Plain):
    """The shape of a small Stable Diffusion pipeline over pixels: `side` x `side` of `channels` (1 grey, 3 colour).

    `widths`: channels of the UNet's levels, each of half the side of the one before; all but the first `plain` have
    self- and cross-attention of `heads` heads. The text encoder (CLIP's form) is `text_width` wide, `text_layers` deep
    and reads at most `context` tokens of a byte-level vocabulary with up to `merges` merged pairs of the prompts.
    """

    side: int = 16
    channels: int = 1
    widths: tuple[int, ...] = (32, 64)
    plain: int = 1
    layers: int = 1
    heads: int = 4
    text_width: int = 64
    text_layers: int = 2
    context: int = 32
    merges: int = 128

    def __post_init__(self) -> None:
        check_types(self)
        least = 2 ** (len(self.widths) - 1)
        rules = (
            (1 <= len(self.widths) <= 6, "widths", "1 to 6 numbers"),
            (all(w >= 8 and w % (8 * self.heads) == 0 for w in self.widths), "widths", "multiples of 8 x `heads`"),
            (0 <= self.plain < len(self.widths), "plain", "less than the number of `widths`, and >= 0"),
            (8 <= self.side <= 512 and self.side % least == 0, "side", f"a multiple of {least} from 8 to 512"),
            (self.channels in (1, 3), "channels", "1 or 3"),
            (self.layers >= 1, "layers", ">= 1"),
            (self.text_width >= 4 and self.text_width % 4 == 0, "text_width", "a multiple of 4"),
            (self.text_layers >= 1, "text_layers", ">= 1"),
            (self.context >= 4, "context", ">= 4 tokens"),
            (self.merges >= 0, "merges", ">= 0"),
        )
        check_rules(self, rules)


@dataclass(frozen=True, kw_only=True)
class PretrainDiffusionSettings(_Plain):
    """Training of UNet and text encoder from scratch: AdamW, `warmup` steps up to `lr`, then a cosine down to 0.

    A share `drop_prompt` of the prompts is left empty, so that guidance works. `probe`: validation pairs whose loss is
    measured every `measure_every` steps.
    """

    steps: int = 2000
    batch_size: int = 32
    lr: float = 2e-3
    warmup: int = 100
    weight_decay: float = 1e-4
    drop_prompt: float = 0.1
    seed: int = 0
    save_every: int = 200
    measure_every: int = 200
    probe: int = 64

    def __post_init__(self) -> None:
        check_types(self)
        rules = (
            (self.steps >= 1, "steps", ">= 1"),
            (self.batch_size >= 1, "batch_size", ">= 1"),
            (self.lr > 0, "lr", "> 0"),
            (self.warmup >= 0, "warmup", ">= 0"),
            (self.weight_decay >= 0, "weight_decay", ">= 0"),
            (0 <= self.drop_prompt < 1, "drop_prompt", "in [0, 1)"),
            (self.seed >= 0, "seed", ">= 0"),
            (self.save_every >= 1, "save_every", ">= 1 step"),
            (self.measure_every >= 1, "measure_every", ">= 1 step"),
            (self.probe >= 1, "probe", ">= 1 sample"),
        )
        check_rules(self, rules)
