"""The job `gen_pretrain` of images: a small diffusion model from scratch, UNet and text encoder together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.data.paths import FileSource
from fvm_core.generation.diffusion_model import Diffusion
from fvm_core.generation.diffusion_settings import DiffusionSettings, PretrainDiffusionSettings, SmallUnetSettings
from fvm_core.generation.diffusion_task import DiffusionTask, laid_on, read_pixels
from fvm_core.generation.identity import folder_identity
from fvm_core.generation.memory import told_when_full
from fvm_core.generation.pairs import PairSet
from fvm_core.generation.small_unet import build_small, save
from fvm_core.generation.store import GenerationRecord, check_free, model_path, publish, read_pairs, read_record
from fvm_core.jobs.context import JobContext
from fvm_core.provenance import digest, machine, now, version
from fvm_core.tuning.batches import NOISE, Batches, derived_seed, fixed_sample
from fvm_core.tuning.loop import Loop, run_loop
from fvm_core.tuning.precision import pick_device
from fvm_core.tuning.schedule import cosine
from fvm_core.workspace import Workspace

LOG_EVERY = 10


def run(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Train and keep base model `args["name"]` on the image-text pairs `args["pairs"]`, under `args["settings"]`
    (PretrainDiffusionSettings and SmallUnetSettings in one mapping); `args["validation"]` names pairs to measure on.

    For metrics see `DiffusionTraining.run`. The folder is one of diffusers, in fp32. Returns {"model", "metrics"}.

    Raises:
        FVMError: name, pairs or settings cannot be used, a library is missing, or the loss diverged.
        JobStopped: the person asked to stop; the job can be resumed.
    """
    settings, shape = split_settings(args.get("settings") or {})
    job = context.folder.name
    name = check_free(workspace, str(args["name"]), job=job)
    if model_path(workspace, name).exists():
        return {"model": name, "metrics": dict(read_record(workspace, name).metrics)}
    pairs = read_pairs(workspace, str(args["pairs"]))
    validation = read_pairs(workspace, str(args["validation"])) if args.get("validation") else None
    diffusion = build_small(shape, pairs.prompts, seed=settings.seed).to(pick_device())
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        metrics = DiffusionTraining(context, diffusion, pairs, validation, settings).run()
    staged = context.path("model", "model_index.json").parent
    save(diffusion.to("cpu"), staged)
    record = GenerationRecord(
        name=name,
        kind="image",
        role="base",
        identity=folder_identity(staged),
        training=pairs.describe(str(args["pairs"])),
        validation=validation.describe(str(args["validation"])) if validation is not None else {},
        settings={
            **settings.to_json(), **shape.to_json(), "threads": torch.get_num_threads(), "machine": machine(),
            "version": version(),
        },
        metrics={**metrics, "parameters": diffusion.parameters},
        job=job,
        created=now(),
    )  # fmt: skip
    publish(workspace, staged, record)
    return {"model": name, "metrics": dict(record.metrics)}


def split_settings(value: Mapping[str, Any]) -> tuple[PretrainDiffusionSettings, SmallUnetSettings]:
    """Return the settings of the training and of the model's shape that one mapping gives.

    Raises:
        SettingsError: a key that neither knows, or a value out of range.
    """
    shape = {key: item for key, item in value.items() if key in SmallUnetSettings.__dataclass_fields__}
    rest = {key: item for key, item in value.items() if key not in shape}
    return PretrainDiffusionSettings.from_json(rest), SmallUnetSettings.from_json(shape)


@dataclass
class DiffusionTraining:
    """The moving parts of one training. All images are held as pixels: 4 bytes x channels x side^2 each."""

    context: JobContext
    diffusion: Diffusion
    pairs: PairSet
    validation: PairSet | None
    settings: PretrainDiffusionSettings
    recent: list[float] = field(default_factory=list)

    def run(self) -> dict[str, float]:
        """Train to the end, or from the kept state on, and return the last metrics.

        Writes the metrics train_loss (mean since the last one) and lr every LOG_EVERY steps, and val_loss: the loss of
        `settings.probe` validation pairs with 8 fixed draws of time step and noise each, every `measure_every` steps.

        Raises:
            SettingsError: the loss diverged, or memory ran out.
            JobStopped: the person asked to stop; the job can be resumed.
        """
        settings, diffusion = self.settings, self.diffusion
        source = FileSource(self.pairs.root, pa.array(self.pairs.targets, pa.string()))
        shape = {"channels": diffusion.channels, "side": diffusion.side}
        pixels = torch.stack([read_pixels(source, row, **shape) for row in range(len(self.pairs))])
        numbers = diffusion.tokens([*self.pairs.prompts, ""])
        model = nn.ModuleList([diffusion.unet, diffusion.text_encoder]).requires_grad_(True).train()
        batches = Batches(len(self.pairs), settings.batch_size, settings.seed)

        def step(k: int) -> float:
            optimizer.zero_grad(set_to_none=True)
            with told_when_full("`batch_size`"):
                loss = self.loss(pixels, numbers, batches.at(k), k)
                loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            return float(loss.item())

        optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        run_loop(
            self.context,
            Loop(
                model=model,
                optimizer=optimizer,
                steps=settings.steps,
                step=step,
                lr=self.rate,
                after=self.after,
                save_every=settings.save_every,
                identity=digest([settings.to_json(), self.pairs.fingerprint, str(diffusion.unet.config)]),
                hint=f"Try a lower `lr` than {settings.lr}.",
            ),
        )
        model.requires_grad_(False).eval()
        return {} if self.validation is None else {"val_loss": self.measured()}

    def loss(self, pixels: Tensor, numbers: Tensor, rows: np.ndarray, k: int) -> Tensor:
        """Return the mean squared error of the noise over one batch; step k alone decides what is drawn."""
        diffusion = self.diffusion
        generator = torch.Generator().manual_seed(derived_seed(self.settings.seed, k, purpose=NOISE))
        clean = pixels[torch.from_numpy(rows)]
        steps = torch.randint(int(diffusion.scheduler.config.num_train_timesteps), (len(rows),), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        dropped = torch.rand(len(rows), generator=generator) < self.settings.drop_prompt
        places = torch.where(dropped, len(numbers) - 1, torch.from_numpy(rows))
        noisy, target = laid_on(diffusion.scheduler, clean, noise, steps)
        device = diffusion.device
        texts = diffusion.text_encoder(numbers[places.to(numbers.device)])[0]
        said = diffusion.unet(noisy.to(device), steps.to(device), encoder_hidden_states=texts).sample
        return F.mse_loss(said, target.to(device))

    def rate(self, k: int) -> float:
        """Return the learning rate of step k: a straight rise over `warmup` steps, under a cosine to 0."""
        rise = min((k + 1) / self.settings.warmup, 1.0) if self.settings.warmup else 1.0
        return rise * cosine(k, lr=self.settings.lr, steps=self.settings.steps)

    def after(self, done: int, loss: float | None) -> None:
        """Report, and measure where it is time."""
        text = f"step {done} of {self.settings.steps}"
        self.context.progress(done, self.settings.steps, text if loss is None else f"{text}, loss {loss:.4f}")
        values: dict[str, float] = {}
        if loss is not None:
            self.recent.append(loss)
            if done % LOG_EVERY == 0 or done == self.settings.steps:
                values = {"train_loss": float(np.mean(self.recent)), "lr": self.rate(done - 1)}
                self.recent.clear()
        if self.validation is not None and (done % self.settings.measure_every == 0 or done == self.settings.steps):
            values["val_loss"] = self.measured()
        if values:
            self.context.metric(done, **values)

    def measured(self) -> float:
        """Return the mean loss of the fixed validation pairs."""
        assert self.validation is not None
        rows = fixed_sample(len(self.validation), self.settings.probe, seed=self.settings.seed).tolist()
        model = self.diffusion.unet
        modes = [(part, part.training) for part in (self.diffusion.unet, self.diffusion.text_encoder)]
        for part, _ in modes:
            part.eval()
        task = DiffusionTask(self.diffusion, model, self.validation, DiffusionSettings(draws=8))
        with torch.no_grad():
            found = [task.losses(task.batch(rows[at : at + 8])) for at in range(0, len(rows), 8)]
        for part, mode in modes:
            part.train(mode)
        return float(torch.cat(found).mean())
