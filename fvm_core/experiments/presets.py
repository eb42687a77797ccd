"""How large an experiment is: network, training, tuning, scoring and samples of each preset. No torch here.

`cpu` on CIFAR-10N: expected seconds from `cost.py` for one pair of a dataset and a seed, on two idle cores of an AMD
EPYC (Zen 3, fp32) at 800 samples/s forward and backward and 450 samples/s of per-sample scores. Three seeds on `worse`
and one on `aggre` and `random1` are five pairs; tables 6, 11 and 12 are about `worse` alone: three pairs. What an
earlier table has made counts there.

    table 1    52 min  8 epochs x 25,000, tuning by SGD and by SAM (200 steps x 128, SAM twice), LiSSA, DataInf, TracIn
                       (checkpoints), GEX (4 members), our score (Fisher 3,000, all labels of 1,500 rows), beyond, plain
    table 2     0      the suggestions of the same scores
    table 6     2 min
    table 10    4 min
    table 11   19 min  on 1,500, 600 and 300 clean images
    table 12    8 min
    table 13   16 min
    figures     8 min
    all       108 min  `reproduce all --plan` tells it for any dataset and setting

`paper` has never been run here: its rates are a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from fvm_core.errors import SettingsError
from fvm_core.influence.settings import ScoreSettings
from fvm_core.models.spec import BUILDS, Build
from fvm_core.tuning.settings import TRAIN_PRESETS, TrainSettings, TuneSettings
from fvm_core.tuning.solvers import default_radius

LISSA = ("lissa_depth", "lissa_scale", "lissa_damping", "lissa_repeats")
GEX = ("gex_members", "gex_steps", "gex_lr")
FIELDS: dict[str, tuple[str, ...]] = {
    "loss": (), "margin": (), "el2n": (), "confident": (), "logit_margin": (),
    "posterior": (), "error_influence": ("damping",), "typical_influence": ("damping",),
    "influence": ("damping", "relabel"), "standard": LISSA,
    "tracin": ("tracin_checkpoints",), "gex": GEX, "datainf": ("curvature_samples", "datainf_damping"),
    "ekfac": ("curvature_samples", "ekfac_damping"), "influence_lissa": (*LISSA, "random_vectors"),
    "influence_datainf": ("datainf_damping", "random_vectors"),
    "influence_ekfac": ("ekfac_damping", "relabel"), "first_train": ("curvature_samples", "damping"),
    "first_val": ("damping",), "second_train": ("curvature_samples", "damping", "relabel"),
    "snapshots": ("damping", *LISSA),
}  # fmt: skip
"""Method -> the settings that it reads besides batch size, limit and seed: what its scores are kept under, so that a
change of the others does not make them anew."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """`build` and `train` make the base model, `tune` the tuned ones (solver, rho and seed are the grid's).

    `score` holds ScoreSettings, `methods` changes of them for single methods. `subset`: rows of the noisy training set,
    drawn by the seed (None: all); `validation`: rows of the clean set (None: all). `starred`: epochs among which the
    starred forms choose (None: all that training keeps). `seeds_elsewhere`: how many of the seeds the datasets other
    than the primary one get (None: all). `figure1_samples` training samples, each moving the model along
    `figure1_lengths` (of the weights' change; SAM's rho is 0.05) on Newton steps damped by `figure1_damping` times the
    mean Fisher, the risk taken of `figure1_probe` validation samples. `figure3_sample` training samples at each
    snapshot. `rate` and `score_rate`: samples a second in training and in per-sample scores, for the expected time.
    """

    name: str
    build: Build
    train: TrainSettings
    tune: TuneSettings
    score: Mapping[str, Any] = field(default_factory=dict)
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    subset: int | None = None
    validation: int | None = None
    starred: tuple[int, ...] | None = None
    seeds_elsewhere: int | None = None
    figure1_samples: int = 32
    figure1_probe: int = 1000
    figure1_damping: float = 0.1
    figure1_lengths: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8)
    figure3_sample: int = 2000
    rate: float = 800.0
    score_rate: float = 450.0

    def __post_init__(self) -> None:
        for name in ("subset", "validation", "seeds_elsewhere"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise SettingsError(f"`{name}` must be a whole number >= 1, or none for all, got {value!r}.")
        for name in ("figure1_samples", "figure1_probe", "figure3_sample"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise SettingsError(f"`{name}` must be a whole number >= 1, got {getattr(self, name)!r}.")
        if not self.figure1_lengths or min(self.figure1_lengths) <= 0:
            raise SettingsError(f"`figure1_lengths` must be lengths > 0, got {self.figure1_lengths!r}.")
        unknown = set(self.methods) - set(FIELDS)
        if unknown:
            raise SettingsError(f"`methods` must be among {list(FIELDS)}, got {sorted(unknown)}.")
        for method in FIELDS:
            self.scoring(method, seed=0, relabel=False)

    def scoring(self, method: str, *, seed: int, relabel: bool) -> dict[str, Any]:
        """Return what a scoring job is told: batch size, limit and seed, and of the other settings those that `method`
        reads, as far as they are set here.

        Raises:
            SettingsError: an unknown setting, or a value out of range.
        """
        given = {**self.score, **self.methods.get(method, {}), "seed": seed}
        ScoreSettings.from_json(given)
        wanted = {
            **ScoreSettings().to_json(),
            **given,
            "relabel": given.get("relabel", "shortlist") if relabel else "none",
        }
        names = ("batch_size", "limit", "seed", *FIELDS[method])
        return {name: wanted[name] for name in names if name in wanted}

    def tuning(self, solver: str, *, seed: int, classes: int) -> TuneSettings:
        """Return the settings of one tuning; the radius is the solver's own for the number of classes."""
        rho = default_radius(solver, hundred_classes=classes >= 100)
        return replace(self.tune, solver=solver, rho=rho, seed=seed)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "train": self.train.to_json(), "tune": self.tune.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preset:
        """Build from a mapping. Raises SettingsError for an unknown key or a value out of range."""
        known = {item.name for item in fields(cls)}
        if unknown := set(value) - known:
            raise SettingsError(f"unknown settings of a preset {sorted(unknown)}; known are {sorted(known)}.")
        items: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        items["build"] = Build(**items["build"])
        items["train"] = TrainSettings.from_json(items["train"])
        items["tune"] = TuneSettings.from_json(items["tune"])
        return cls(**items)

    def with_changes(self, changes: Mapping[str, Any]) -> Preset:
        """Return the preset with changes of single values, by their dotted names.

        Raises:
            SettingsError: an unknown name, or a value out of range.

        >>> PRESETS["cpu"].with_changes({"tune.steps": 5, "subset": 100}).tune.steps
        5
        """
        value = self.to_json()
        for name, item in changes.items():
            *path, last = name.split(".")
            place = value
            for part in path:
                if not isinstance(place.get(part), dict) and part not in FIELDS:
                    raise SettingsError(f"`{name}` is no setting of a preset; known are {sorted(value)}.")
                place = place.setdefault(part, {})
            place[last] = item
        return Preset.from_json(value)


_QUIET: dict[str, Any] = {"eval_every": 0, "sharpness_every": 0, "hessian_every": 0}

PRESETS: dict[str, Preset] = {
    "cpu": Preset(
        name="cpu",
        build=BUILDS["cpu"],
        train=TrainSettings(
            epochs=8, schedule="onecycle", drop_epochs=(), lr=0.2, checkpoint_epochs=tuple(range(1, 9)), save_every=100
        ),
        tune=TuneSettings(steps=200, snapshots=4, **_QUIET),
        score={
            "limit": 1500,
            "lissa_depth": 50,
            "curvature_samples": 600,
            "random_vectors": 2,
            "tracin_checkpoints": 3,
            "gex_members": 4,
            "gex_steps": 30,
        },
        methods={
            "standard": {"batch_size": 32},
            "influence_lissa": {"batch_size": 32, "lissa_depth": 30},
            "snapshots": {"batch_size": 32, "lissa_depth": 30},
        },
        subset=25_000,
        validation=3_000,
        starred=(2, 5, 8),
        seeds_elsewhere=1,
        figure1_samples=8,
        figure1_probe=400,
        figure3_sample=300,
    ),
    "paper": Preset(
        name="paper",
        build=BUILDS["paper"],
        train=TRAIN_PRESETS["paper"],
        tune=TuneSettings(**_QUIET),
        rate=2500.0,
        score_rate=600.0,
    ),
    "digits": Preset(
        name="digits",
        build=BUILDS["digits"],
        train=TRAIN_PRESETS["digits"],
        tune=TuneSettings(steps=300, batch_size=64, lr=0.02, **_QUIET),
        score={"lissa_depth": 60, "gex_members": 4, "gex_steps": 100},
        figure1_samples=16,
        figure1_probe=500,
        figure3_sample=400,
        rate=6000.0,
        score_rate=2500.0,
    ),
}
