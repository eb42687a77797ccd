"""What a generating model is tuned on: prompts and what they should give, text or images. No torch here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fvm_core.errors import DataError
from fvm_core.provenance import digest

KINDS = ("text", "image")
MAX_PAIRS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class PairSet:
    """n pairs of a prompt and its target, in a fixed order.

    `ids`: unique hashes of the content (`text_id`; for an image, of its bytes and prompt). `targets`: the text, or the
    path of the image file below `root`. `classes`: the name of each sample's class, for Eq. 23, None where there is
    none. `wrong`: which targets were made wrong on purpose, None where nobody knows.

    Raises:
        DataError: no pair or too many, lengths that differ, a `kind` that is not known, ids that repeat, an empty
            prompt or target.
    """

    ids: tuple[str, ...]
    prompts: tuple[str, ...]
    targets: tuple[str, ...]
    kind: str = "text"
    classes: tuple[str, ...] | None = None
    wrong: tuple[bool, ...] | None = None
    root: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"`kind` must be one of {KINDS}, got {self.kind!r}.")
        if not 1 <= len(self.ids) <= MAX_PAIRS:
            raise DataError(f"a set of pairs must hold 1 to {MAX_PAIRS:,} of them, got {len(self.ids):,}.")
        for name in ("prompts", "targets", "classes", "wrong"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.ids):
                raise DataError(f"`{name}` must hold one value for each of {len(self.ids)} ids, got {len(values)}.")
        for name in ("prompts", "targets"):
            for row, text in enumerate(getattr(self, name)):
                if not text.strip():
                    raise DataError(
                        f"`{name}` must not be empty, but that of pair {row} (counted from 0) is. "
                        "Fill it in or leave the pair out."
                    )
        if len(set(self.ids)) != len(self.ids):
            first = _first_repeat(self.ids)
            raise DataError(
                f"pairs must differ, but {self.prompts[first]!r:.80} with {self.targets[first]!r:.80} is there twice "
                f"(again as pair {first}, counted from 0). Leave one of them out."
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def fingerprint(self) -> str:
        """A hash of everything that training sees: kind, ids and classes, in their order."""
        return digest([self.kind, self.ids, self.classes])

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the order of their first sample; empty without classes."""
        return tuple(dict.fromkeys(self.classes or ()))

    def take(self, rows: Iterable[int]) -> PairSet:
        """Return the pairs at `rows`, in that order."""
        rows = list(rows)

        def of(values: Sequence[Any] | None) -> Any:
            return None if values is None else tuple(values[row] for row in rows)

        return replace(
            self,
            ids=of(self.ids),
            prompts=of(self.prompts),
            targets=of(self.targets),
            classes=of(self.classes),
            wrong=of(self.wrong),
        )

    def describe(self, name: str) -> dict[str, Any]:
        """Return what provenance keeps of this set: {"name", "kind", "samples", "fingerprint"}."""
        return {"name": name, "kind": self.kind, "samples": len(self), "fingerprint": self.fingerprint}


def text_id(prompt: str, target: str) -> str:
    """Return the id of a text pair: 16 letters of the BLAKE2b hash of its prompt and target.

    >>> text_id("a", "bc") == text_id("ab", "c")
    False
    """
    return hashlib.blake2b(f"{len(prompt)} {prompt}{target}".encode(errors="surrogatepass"), digest_size=8).hexdigest()


def text_pairs(
    prompts: Sequence[str],
    targets: Sequence[str],
    *,
    classes: Sequence[str] | None = None,
    wrong: Sequence[bool] | None = None,
    notes: Sequence[str] = (),
) -> PairSet:
    """Return the set of these texts, with ids made of their content.

    Raises:
        DataError: as `PairSet`.

    >>> len(text_pairs(["Say hello."], ["hello"]))
    1
    """
    return PairSet(
        ids=tuple(text_id(prompt, target) for prompt, target in zip(prompts, targets, strict=False)),
        prompts=tuple(prompts),
        targets=tuple(targets),
        classes=None if classes is None else tuple(classes),
        wrong=None if wrong is None else tuple(bool(one) for one in wrong),
        notes=tuple(notes),
    )


def _first_repeat(ids: Sequence[str]) -> int:
    seen: set[str] = set()
    for row, one in enumerate(ids):
        if one in seen:
            return row
        seen.add(one)
    return 0
