"""The job `gen_pretrain` of text: a small Llama-shaped model of bytes, from scratch, on practice pairs without end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from fvm_core.generation.answers import exact_match
from fvm_core.generation.byte_tokenizer import byte_tokenizer
from fvm_core.generation.identity import folder_identity
from fvm_core.generation.language_task import LanguageTask, TokenBatch, target_losses, token_batch
from fvm_core.generation.libraries import need
from fvm_core.generation.pairs import PairSet
from fvm_core.generation.sentences import TRANSFORMATIONS, practice_pair, sentence_pairs
from fvm_core.generation.settings import PretrainSettings
from fvm_core.generation.store import GenerationRecord, check_free, publish, read_record
from fvm_core.generation.word_problems import practice_problem, word_problem_pairs
from fvm_core.jobs.context import JobContext
from fvm_core.provenance import digest, machine, now, version
from fvm_core.tuning.evaluate import eval_mode
from fvm_core.tuning.loop import Loop, run_loop
from fvm_core.tuning.precision import pick_device
from fvm_core.workspace import Workspace

TEMPLATE = "{prompt}\n"
GROUPED = 8


def run(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Train and keep base model `args["name"]` under `args["settings"]` (PretrainSettings).

    Its practice is in its own wording (`PRACTICE_WORDING`, `Problem.short`) on sentences and numbers that no set of
    pairs holds. Metrics: train_loss (nats a target token), lr; exact_match of sentences and of word problems, in
    practice's wording on reserved sentences and numbers. Weights are kept in float16.

    Returns {"model", "metrics"}: exact match by class among them.

    Raises:
        FVMError: name or settings cannot be used, a library is missing, or the loss diverged.
        JobStopped: the person asked to stop; the job can be resumed.
    """
    settings: PretrainSettings = PretrainSettings.from_json(dict(args["settings"]))
    job = context.folder.name
    name = check_free(workspace, str(args["name"]), job=job)
    if (workspace.root / "generation" / "models" / name).exists():
        record = read_record(workspace, name)
        return {"model": name, "metrics": dict(record.metrics)}
    tokenizer = byte_tokenizer(context=settings.context)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model = new_model(settings, tokenizer).to(pick_device())
        task = LanguageTask(model, tokenizer, reserved_pairs(settings), settings.context, TEMPLATE)
        run_loop(context, practice_loop(context, settings, task))
        metrics = measured(task)
    staged = context.path("model", "model.safetensors").parent
    model.to(torch.float16).save_pretrained(staged)
    tokenizer.save_pretrained(staged)
    record = GenerationRecord(
        name=name,
        kind="text",
        role="base",
        identity=folder_identity(staged),
        settings={**settings.to_json(), "threads": torch.get_num_threads(), "machine": machine(), "version": version()},
        metrics={**metrics, "parameters": sum(parameter.numel() for parameter in model.parameters())},
        job=job,
        created=now(),
    )
    publish(workspace, staged, record)
    return {"model": name, "metrics": dict(record.metrics)}


def new_model(settings: PretrainSettings, tokenizer: Any) -> Any:
    """Return a LlamaForCausalLM with random weights (of torch's random state), embeddings tied to the head."""
    transformers = need("transformers")
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=settings.feed_forward,
        max_position_embeddings=settings.context,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return transformers.LlamaForCausalLM(config)


def reserved_pairs(settings: PretrainSettings) -> PairSet:
    """Return the pairs in practice's wording that measure what was learned: `eval_pairs` a class, both kinds of task
    if both are practised."""
    wanted = {"training": 1, "validation": settings.eval_pairs, "seed": 1_000, "wording": "practice"}
    parts = [sentence_pairs(**wanted)[1]] if settings.problems < 1 else []  # type: ignore[arg-type]
    parts += [word_problem_pairs(**wanted)[1]] if settings.problems > 0 else []  # type: ignore[arg-type]
    prompts, targets, classes = (
        [one for part in parts for one in getattr(part, field) or ()] for field in ("prompts", "targets", "classes")
    )
    ids = tuple(one for part in parts for one in part.ids)
    return PairSet(ids=ids, prompts=tuple(prompts), targets=tuple(targets), classes=tuple(classes))


def practice_batch(settings: PretrainSettings, task: LanguageTask, step: int) -> TokenBatch:
    """Return the batch of step `step`, a pure function of it and the seed.

    GROUPED batches are drawn together and cut by length, so that little is padding; their order is drawn too.
    """
    group, place = divmod(step, GROUPED)
    rng = np.random.default_rng([settings.seed, group])
    drawn = [
        practice_problem(rng) if rng.random() < settings.problems else practice_pair(rng)
        for _ in range(GROUPED * settings.batch_size)
    ]
    encoded = sorted((task.encode(prompt, target) for prompt, target, _ in drawn), key=lambda one: len(one[0] + one[1]))
    start = int(rng.permutation(GROUPED)[place]) * settings.batch_size
    return token_batch(encoded[start : start + settings.batch_size], task.tokenizer, task.device)


def practice_loop(context: JobContext, settings: PretrainSettings, task: LanguageTask) -> Loop:
    """Return the loop over `steps` steps of AdamW."""
    optimizer = torch.optim.AdamW(
        task.model.parameters(), lr=settings.lr, betas=(0.9, 0.98), weight_decay=settings.weight_decay, fused=True
    )
    task.model.train()

    def step(k: int) -> float:
        batch = practice_batch(settings, task, k)
        optimizer.zero_grad(set_to_none=True)
        loss = target_losses(task.model, batch).sum() / (batch.labels[:, 1:] >= 0).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    def after(done: int, loss: float | None) -> None:
        text = f"step {done} of {settings.steps}"
        context.progress(done, settings.steps, text if loss is None else f"{text}, loss {loss:.3f}")
        values = {} if loss is None else {"train_loss": loss, "lr": rate(done - 1, settings)}
        if settings.eval_every and done and done % settings.eval_every == 0 and done < settings.steps:
            values |= {key: value for key, value in measured(task).items() if isinstance(value, float)}
        if values:
            context.metric(done, **values)

    return Loop(
        model=task.model,
        optimizer=optimizer,
        steps=settings.steps,
        step=step,
        lr=lambda k: rate(k, settings),
        after=after,
        save_every=settings.save_every,
        identity=digest([settings.to_json(), version()]),
        hint=f"Try a lower `lr` than {settings.lr}.",
    )


def rate(step: int, settings: PretrainSettings) -> float:
    """Return the learning rate of step `step` (from 0): a straight rise over `warmup` steps, then a cosine."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(settings.steps - settings.warmup, 1)
    return settings.lr * (0.05 + 0.95 * 0.5 * (1 + float(np.cos(np.pi * min(done, 1.0)))))


def measured(task: LanguageTask) -> dict[str, Any]:
    """Return exact match in [0, 1]: of both kinds of task (where practised) and {class: share}."""
    with eval_mode(task.model):
        found = exact_match(task, longest=96)
    values: dict[str, Any] = {"by_class": found.by_class}
    for key, wanted in (("exact_match_sentences", True), ("exact_match_problems", False)):
        shares = [share for name, share in found.by_class.items() if (name in TRANSFORMATIONS) == wanted]
        if shares:
            values[key] = sum(shares) / len(shares)
    return values
