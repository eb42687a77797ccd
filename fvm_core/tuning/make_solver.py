"""From settings to the solver they ask for, and to the words about it when its loss diverges."""

from __future__ import annotations

from collections.abc import Callable

from fvm_core.tuning.asam import Asam
from fvm_core.tuning.fsam import FSam
from fvm_core.tuning.lpf import Lpf
from fvm_core.tuning.sam import Sam
from fvm_core.tuning.settings import TuneSettings
from fvm_core.tuning.sgd import Sgd
from fvm_core.tuning.solver import Solver
from fvm_core.tuning.solvers import SOLVER_INFO

MAKERS: dict[str, Callable[[TuneSettings], Solver]] = {
    "sgd": lambda s: Sgd(clip_norm=s.clip_norm),
    "sam": lambda s: Sam(rho=s.rho, clip_norm=s.clip_norm),
    "asam": lambda s: Asam(rho=s.rho, eta=s.asam_eta, clip_norm=s.clip_norm),
    "fsam": lambda s: FSam(rho=s.rho, sigma=s.fsam_sigma, lambda_=s.fsam_lambda, clip_norm=s.clip_norm),
    "lpf": lambda s: Lpf(
        gamma=s.lpf_gamma, draws=s.lpf_draws, growth=s.lpf_growth, seed=s.seed, steps=s.steps, clip_norm=s.clip_norm
    ),
}


def make_solver(settings: TuneSettings) -> Solver:
    """Return a fresh solver of the kind that `settings.solver` names, under its own settings."""
    return MAKERS[settings.solver](settings)


def remedy(settings: TuneSettings) -> str:
    """Return what to change when a tuning diverges: a sentence that names the settings that decide its steps.

    >>> remedy(TuneSettings(solver="lpf"))
    'Try a lower `lr` than 0.01 or a smaller `lpf_gamma` than 0.001.'
    """
    words = f"Try a lower `lr` than {settings.lr}"
    reach = SOLVER_INFO[settings.solver].reach
    return f"{words} or a smaller `{reach}` than {getattr(settings, reach)}." if reach else f"{words}."
