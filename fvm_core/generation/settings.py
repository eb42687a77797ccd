"""Settings of pretraining, LoRA tuning and scoring. Defaults of tuning are the paper's (B.2). No torch here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fvm_core.errors import SettingsError
from fvm_core.field_types import check_known, check_rules, check_types

ROLES = ("lora", "vm", "fvm")
DTYPES = ("auto", "fp32", "bf16", "fp16")


class _Json:
    def to_json(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Any:
        """Build from a mapping. Raises SettingsError for an unknown key or a value out of range."""
        check_known(cls, value)
        return cls(**{key: tuple(item) if isinstance(item, list) else item for key, item in value.items()})


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(_Json):
    """A small Llama-shaped model of byte tokens, trained from scratch on practice pairs that are drawn anew each step.

    `problems`: share of word problems, the rest are sentences. `lr`: the peak, after `warmup` steps, with a cosine to a
    twentieth of it. `eval_every`: steps between two measurements of exact match on `eval_pairs` reserved pairs a class.
    """

    hidden: int = 192
    layers: int = 5
    heads: int = 6
    feed_forward: int = 512
    context: int = 256
    steps: int = 1800
    batch_size: int = 32
    lr: float = 1.5e-3
    warmup: int = 100
    weight_decay: float = 0.01
    problems: float = 0.125
    eval_every: int = 600
    eval_pairs: int = 10
    save_every: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        sizes = ("hidden", "layers", "heads", "feed_forward", "steps", "batch_size", "eval_pairs", "save_every")
        check_rules(
            self,
            [
                *[(getattr(self, name) >= 1, name, ">= 1") for name in sizes],
                (self.heads > 0 and self.hidden % (2 * self.heads) == 0, "hidden", "a multiple of 2 x `heads`"),
                (self.context >= 64, "context", ">= 64 tokens"),
                (self.lr > 0, "lr", "> 0"),
                (self.warmup >= 0, "warmup", ">= 0 steps"),
                (self.weight_decay >= 0, "weight_decay", ">= 0"),
                (0 <= self.problems <= 1, "problems", "in [0, 1]"),
                (self.eval_every >= 0, "eval_every", ">= 0 steps (0 switches it off)"),
                (self.seed >= 0, "seed", ">= 0"),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class LoraSettings(_Json):
    """Tuning of LoRA parameters alone, with AdamW and a cosine to 0.

    `role`: `lora` tunes on the training pairs, `vm` on the validation pairs, `fvm` there too with LPF (M = `draws`,
    `gamma`). `epochs`, `lr` None stand for the paper's: 10 epochs at 3e-4 for `lora`, 5 at 3e-5 for the others.
    `steps`: a number of steps instead of epochs (B.3 names steps). `rank`, `alpha`, `targets` (last parts of the names
    of Linear layers, with commas) shape a new adapter and count for `lora` alone; None and empty stand for the paper's:
    8, 32, queries and values of a language model, 2, 2 and every attention layer of a diffusion model.
    `micro_batch`: pairs in memory at a time, which changes memory and time, not the result. `answers`: so many
    validation prompts are answered at the end and compared with their targets (text).
    `*_every` in steps, 0 switches off. `sharpness_rho`: radius at which the sharpness is measured.
    """

    role: str = "lora"
    epochs: int | None = None
    steps: int | None = None
    lr: float | None = None
    batch_size: int = 64
    micro_batch: int = 64
    weight_decay: float = 0.0
    clip_norm: float | None = None
    rank: int | None = None
    alpha: float | None = None
    targets: str = ""
    gamma: float = 0.001
    draws: int = 1
    eval_every: int = 10
    sharpness_every: int = 0
    sharpness_rho: float = 0.05
    directions: int = 2
    probe_size: int = 100
    save_every: int = 50
    answers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        check_rules(
            self,
            [
                (self.role in ROLES, "role", f"one of {ROLES}"),
                (self.epochs is None or self.epochs >= 1, "epochs", ">= 1 or none"),
                (self.steps is None or self.steps >= 1, "steps", ">= 1 or none"),
                (self.epochs is None or self.steps is None, "steps", "none where `epochs` is given"),
                (self.lr is None or self.lr > 0, "lr", "> 0 or none"),
                *[(getattr(self, name) >= 1, name, ">= 1") for name in ("batch_size", "draws", "directions")],
                *[(getattr(self, name) >= 1, name, ">= 1") for name in ("probe_size", "save_every", "micro_batch")],
                (self.answers >= 0, "answers", ">= 0"),
                (self.rank is None or self.rank >= 1, "rank", ">= 1 or none"),
                (self.alpha is None or self.alpha > 0, "alpha", "> 0 or none"),
                (self.weight_decay >= 0, "weight_decay", ">= 0"),
                (self.clip_norm is None or self.clip_norm > 0, "clip_norm", "> 0 or none"),
                (self.gamma >= 0, "gamma", ">= 0"),
                (self.sharpness_rho > 0, "sharpness_rho", "> 0"),
                *[(getattr(self, name) >= 0, name, ">= 0 steps") for name in ("eval_every", "sharpness_every")],
                (self.seed >= 0, "seed", ">= 0"),
            ],
        )

    @property
    def target_names(self) -> tuple[str, ...]:
        """`targets` as a tuple; empty for the kind's own."""
        return tuple(name.strip() for name in self.targets.split(",") if name.strip())

    @property
    def rate(self) -> float:
        """The first learning rate: `lr`, or the paper's for the role."""
        return self.lr if self.lr is not None else 3e-4 if self.role == "lora" else 3e-5

    def total_steps(self, per_epoch: int) -> int:
        """Return the number of steps: `steps`, or so many epochs of `per_epoch` steps."""
        if self.steps is not None:
            return self.steps
        return per_epoch * (self.epochs if self.epochs is not None else 10 if self.role == "lora" else 5)


@dataclass(frozen=True, kw_only=True)
class LanguageOptions(_Json):
    """How a language model is asked. `template`: what stands around a prompt, e.g. `[INST] {prompt} [/INST] `.

    `context`: the longest sequence in tokens, None for the model's own. `dtype`: of the frozen base, `auto` for fp32 on
    a CPU and the stored one (fp16 as bf16) on a GPU; LoRA's own weights are fp32.
    """

    template: str = "{prompt}\n"
    context: int | None = None
    dtype: str = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        check_rules(
            self,
            [
                ("{prompt}" in self.template, "template", "text with {prompt} in it"),
                (self.context is None or self.context >= 2, "context", ">= 2 tokens or none"),
                (self.dtype in DTYPES, "dtype", f"one of {DTYPES}"),
            ],
        )


@dataclass(frozen=True, kw_only=True)
class PairScoreSettings(_Json):
    """How pairs are scored. `methods`: keys of METHODS with commas; empty for the paper's at the model's role.
    `epsilon` weighs Eq. 20's second-order term (paper: 0.01).

    `damping` is added to the Fisher diagonal, in units of its mean over all LoRA parameters; `datainf_damping` is
    DataInf's, in units of each layer's mean squared gradient (B.2: 0.1). `batch_size`: samples in one pass.
    """

    methods: str = ""
    epsilon: float = 0.01
    damping: float = 1e-3
    datainf_damping: float = 0.1
    batch_size: int = 32
    keep_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        check_types(self)
        check_rules(
            self,
            [
                (self.epsilon >= 0, "epsilon", ">= 0"),
                (self.damping > 0, "damping", "> 0"),
                (self.datainf_damping > 0, "datainf_damping", "> 0"),
                (self.batch_size >= 1, "batch_size", ">= 1"),
                (self.keep_bytes >= 0, "keep_bytes", ">= 0 bytes"),
            ],
        )
        if unknown := set(self.method_names) - set(METHODS):
            raise SettingsError(f"`methods` must be among {', '.join(METHODS)}, got {', '.join(sorted(unknown))}.")

    @property
    def method_names(self) -> tuple[str, ...]:
        """The methods to compute, in their order."""
        return tuple(name.strip() for name in self.methods.split(",") if name.strip())


METHODS: dict[str, str] = {
    "influence": "Influence at the validation minimum (Eq. 20)",
    "tracin": "TracIn",
    "datainf": "DataInf",
}
"""What each method is called. Positive = training on the pair lowers the loss of the validation pair."""
