"""The solvers of a tuning by name: what each is called, does, and is set by. No torch here: pages read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SolverInfo:
    """`title` is what papers call it, `sentence` what it does; `own` are the settings that no other solver has.

    `reach` is the setting that says how far around the weights it looks ("" for none). `radius` is the usual `rho` for
    ten classes and `radius_100` for a hundred (CIFAR-10 and CIFAR-100 in its paper). Where rho is no part of a solver
    they are SAM's: there `rho` is only the radius of the measured sharpness. `passes`: how often each sample of a batch
    goes forward and backward in a step.
    """

    title: str
    sentence: str
    own: tuple[str, ...] = ()
    reach: str = "rho"
    radius: float = 0.05
    radius_100: float = 0.1
    passes: int = 2


SOLVER_INFO: dict[str, SolverInfo] = {
    "sgd": SolverInfo("SGD", "Plain SGD: it ends in whatever minimum is near.", reach="", passes=1),
    "sam": SolverInfo(
        "SAM", "Each step uses the gradient at the worst point within the radius rho (Foret et al., 2021)."
    ),
    "asam": SolverInfo(
        "ASAM", "SAM with a radius in proportion to each weight's size, so that rescaled layers are treated alike "
        "(Kwon et al., 2021).", own=("asam_eta",), radius=0.5, radius_100=1.0,
    ),
    "fsam": SolverInfo(
        "F-SAM", "SAM that looks along the batch's own noise: the running mean of the gradients is taken off first "
        "(Li et al., 2024).", own=("fsam_sigma", "fsam_lambda"), radius=0.1, radius_100=0.1,
    ),
    "lpf": SolverInfo(
        "LPF", "Each step averages the gradient over random noise on the weights, at the cost of SGD "
        "(LPF-SGD, Bisla et al., 2022).", own=("lpf_gamma", "lpf_draws", "lpf_growth"), reach="lpf_gamma",
        passes=1,
    ),
}  # fmt: skip

SETTING_HELP: dict[str, str] = {
    "rho": "How far SAM, ASAM or F-SAM looks around the weights.",
    "asam_eta": "Added to each weight's size, so that weights near zero are moved too.",
    "fsam_sigma": "How much of the running mean of the gradients is taken off; 0 is SAM.",
    "fsam_lambda": "Memory of the running mean: the nearer to 1, the more steps it averages.",
    "lpf_gamma": "Size of the noise in parts of each filter's norm; 0 is SGD.",
    "lpf_draws": "Draws of noise in a step, each on its share of the batch.",
    "lpf_growth": "The noise grows along a cosine to this many times its size at the start; 1 keeps it.",
    "clip_norm": "Gradients longer than this are shortened to it before the step; off unless given.",
    "sharpness_rho": "Radius at which the sharpness is measured, whatever the solver: the same for all, so that their "
    "curves can be compared.",
}
"""One sentence for each setting that belongs to a solver, clips its steps, or compares it with the others."""


def role_of(solver: str) -> str:
    """Return the role of a model tuned by `solver`: `vm` for SGD, `fvm` for every sharpness-aware one."""
    return "vm" if solver == "sgd" else "fvm"


def default_radius(solver: str, *, hundred_classes: bool = False) -> float:
    """Return the `rho` to tune with when none is given; SAM's for an unknown solver (TuneSettings refuses it by name).

    >>> default_radius("asam"), default_radius("sam", hundred_classes=True), default_radius("sgd")
    (0.5, 0.1, 0.05)
    """
    info = SOLVER_INFO.get(solver, SOLVER_INFO["sam"])
    return info.radius_100 if hundred_classes else info.radius


def name_with_solver(role: str, solver: object) -> str:
    """Return the name of a role (`FVM`) with the solver behind it where it is another than the role's usual one.

    Models and scores made before there was a choice carry no solver: theirs is the usual one.

    >>> name_with_solver("FVM", "asam"), name_with_solver("FVM", "sam"), name_with_solver("FVM", None)
    ('FVM (ASAM)', 'FVM', 'FVM')
    """
    if not isinstance(solver, str) or solver in ("sgd", "sam") or solver not in SOLVER_INFO:
        return role
    return f"{role} ({SOLVER_INFO[solver].title})"
