"""A tokenizer of single bytes: nothing to learn, nothing unknown, and AutoTokenizer loads it."""

from __future__ import annotations

from typing import Any

from fvm_core.generation.libraries import need

SPECIAL = ("<pad>", "<s>", "</s>")


def byte_tokenizer(*, context: int) -> Any:
    """Return a transformers tokenizer of 259 tokens: padding, start, end, and one for each byte of UTF-8.

    `context` is the longest sequence that its model takes. `save_pretrained` writes it beside a model.

    Raises:
        SettingsError: `transformers` or `tokenizers` is not installed.
    """
    transformers, tokenizers = need("transformers"), need("tokenizers")
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate([*SPECIAL, *letters])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    pad, start, end = SPECIAL
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, bos_token=start, eos_token=end, model_max_length=context
    )
