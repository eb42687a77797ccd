"""Names, signs and sources of every score. The one table that pages, command line and files read. No torch here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """`suspicious` is +1 where a large score means likely mislabeled, -1 where a low one does:
    suspicion = suspicious * score.

    `group` says what it is for: `main` is scored unless something else is asked for; `comparison` are the estimators
    that the paper compares with, `inverse` other inverse Hessians in the paper's form (Table 13), `ablation` the halves
    of the paper's form (Table 6), `beyond` scores of ours that are not in the paper.
    """

    key: str
    title: str
    suspicious: int
    relabels: bool
    source: str
    explains: str
    group: str = "main"


METHODS: dict[str, Method] = {
    method.key: method
    for method in (
        Method(
            "influence",
            "Influence at the minimum",
            +1,
            True,
            "Eq. 21, 24",
            "s = sum of squared gradient over Fisher: how hard this label pulls the tuned model away",
        ),
        Method(
            "standard",
            "Standard influence (LiSSA)",
            -1,
            True,
            "Eq. 6; Koh & Liang 2017",
            "change of the validation loss when the sample is removed: negative = harmful",
        ),
        Method("loss", "Cross-entropy loss", +1, True, "baseline", "loss of the given label under the same model"),
        Method(
            "margin",
            "Margin",
            +1,
            True,
            "baseline",
            "largest other probability minus the given label's: positive = model disagrees",
        ),
        Method("el2n", "EL2N", +1, True, "baseline; Paul et al. 2021", "length of softmax minus one-hot"),
        Method(
            "confident",
            "Confident learning",
            -1,
            True,
            "baseline; Northcutt et al. 2021 (cleanlab)",
            "cleanlab's label quality in [0, 1]: low = likely wrong",
        ),
        Method(
            "tracin",
            "TracIn",
            -1,
            True,
            "Pruthi et al. 2020",
            "learning rate times validation gradient times the sample's, over training checkpoints: negative = harmful",
            "comparison",
        ),
        Method(
            "gex",
            "GEX",
            +1,
            True,
            "Kim et al. 2023",
            "mean squared change of the loss over models tuned on the validation set: large = the tuning disagrees",
            "comparison",
        ),
    )
}

DEFAULT_METHODS: tuple[str, ...] = tuple(key for key, method in METHODS.items() if method.group == "main")
"""What is scored when nobody says otherwise."""
