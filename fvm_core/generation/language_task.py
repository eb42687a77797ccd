"""Prompts and targets as tokens, and the loss of each target under a causal language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.errors import DataError
from fvm_core.generation.pairs import PairSet

IGNORED = -100


@dataclass(frozen=True)
class TokenBatch:
    """`ids`, `mask` (b, t): tokens and which of them are real, padded on the right. `labels` (b, t): the target's
    tokens at their places, IGNORED elsewhere."""

    ids: Tensor
    mask: Tensor
    labels: Tensor


@dataclass(frozen=True)
class LanguageTask:
    """A `GenerationTask` of text. `context`: the longest sequence of tokens, prompt and target together."""

    model: nn.Module
    tokenizer: Any
    pairs: PairSet
    context: int
    template: str = "{prompt}\n"
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pairs.kind != "text":
            raise DataError(f"a language model needs pairs of text, got pairs of kind {self.pairs.kind!r}.")
        encoded = [self.encode(one, other) for one, other in zip(self.pairs.prompts, self.pairs.targets, strict=True)]
        for row, (start, end) in enumerate(encoded):
            if len(start) + len(end) > self.context:
                raise DataError(
                    f"pair {row} (counted from 0, {self.pairs.prompts[row]!r:.60}) must fit into the model's context "
                    f"of {self.context} tokens with prompt and target, but has {len(start)} + {len(end)}. Nothing is "
                    "cut: shorten it, leave it out, or use a model with a longer context."
                )
        object.__setattr__(self, "_encoded", encoded)

    def with_pairs(self, pairs: PairSet) -> LanguageTask:
        """Return the same model over other pairs. Raises DataError for images, or a pair that is too long."""
        return replace(self, pairs=pairs)

    def encode(self, prompt: str, target: str | None = None) -> tuple[list[int], list[int]]:
        """Return the tokens of prompt (start token and template included) and of target (with the end token).

        Text that spells a special token is read as the letters it is made of.
        """
        start = self.tokenizer.bos_token_id
        before = [] if start is None else [start]
        return (
            before + self._tokens(self.template.replace("{prompt}", prompt)),
            [] if target is None else [*self._tokens(target), self.tokenizer.eos_token_id],
        )

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def batch(self, rows: Sequence[int]) -> TokenBatch:
        """Return the pairs at `rows` as tokens on the model's device, padded to the longest of them."""
        return token_batch([self._encoded[row] for row in rows], self.tokenizer, self.device)  # type: ignore[attr-defined]

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def losses(self, batch: TokenBatch) -> Tensor:
        """Return (b,) the sum over the target's tokens, its end token too, of -log p, in nats (B.2)."""
        return target_losses(self.model, batch)

    def generate(self, prompt: str, *, seed: int = 0, longest: int = 128) -> str:
        """Return the most probable continuation, token by token (`seed` has nothing to decide), up to the end token.

        Raises:
            DataError: an empty prompt, or one that leaves no room for an answer in the context.
        """
        if not prompt.strip():
            raise DataError("`prompt` must not be empty. Type what the model is to answer.")
        return self.generate_all([prompt], longest=longest)[0]

    def generate_all(self, prompts: Sequence[str], *, longest: int = 128) -> list[str]:
        """Return an answer to each of the prompts, of `longest` tokens at most, computed together.

        Raises:
            DataError: a prompt that leaves no room for an answer.
        """
        starts = [self.encode(prompt)[0] for prompt in prompts]
        width = max(map(len, starts))
        if width >= self.context:
            raise DataError(
                f"`prompt` must leave room in the model's context of {self.context} tokens, but has {width}. It is not "
                "cut: shorten it."
            )
        pad = padding(self.tokenizer)
        ids = torch.tensor([[pad] * (width - len(one)) + one for one in starts], device=self.device)
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in starts], device=self.device)
        with torch.no_grad():
            out = self.model.generate(  # type: ignore[operator]
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=min(longest, self.context - width),
                do_sample=False,
                pad_token_id=pad,
                eos_token_id=self.tokenizer.eos_token_id,
            )
        return list(self.tokenizer.batch_decode(out[:, width:], skip_special_tokens=True))

    def describe(self) -> dict[str, Any]:
        """Return {"kind", "template", "context", ...}: what decides the losses beside weights and pairs."""
        return {"kind": "text", "template": self.template, "context": self.context, **self.about}


def token_batch(encoded: Sequence[tuple[list[int], list[int]]], tokenizer: Any, device: torch.device) -> TokenBatch:
    """Return (prompt tokens, target tokens) of some samples as one batch, padded on the right."""
    width, pad = max(len(start) + len(end) for start, end in encoded), padding(tokenizer)
    ids, mask, labels = [], [], []
    for start, end in encoded:
        gap = width - len(start) - len(end)
        ids.append([*start, *end, *[pad] * gap])
        mask.append([1] * (width - gap) + [0] * gap)
        labels.append([*[IGNORED] * len(start), *end, *[IGNORED] * gap])
    return TokenBatch(*(torch.tensor(value, device=device) for value in (ids, mask, labels)))


def padding(tokenizer: Any) -> int:
    """Return the token that fills a row; its value is never seen, and models without one use their end token."""
    return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)


def target_losses(model: nn.Module, batch: TokenBatch) -> Tensor:
    """Return (b,) the summed -log p of each sample's labels, in nats, in float32."""
    logits = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits
    labels = batch.labels[:, 1:]
    chosen = labels != IGNORED
    each = F.cross_entropy(logits[:, :-1][chosen].float(), labels[chosen], reduction="none")
    sample = chosen.nonzero()[:, 0]
    return torch.zeros(len(labels), device=each.device).index_add(0, sample, each)
