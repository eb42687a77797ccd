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
            "posterior",
            "Label error posterior",
            +1,
            True,
            "beyond the paper; Dawid & Skene 1979",
            "-log of the chance that the given label is true, by the tuned model and the label confusions that its "
            "predictions imply",
        ),
        Method(
            "error_influence",
            "Influence of the label error",
            +1,
            True,
            "beyond the paper; Eq. 21 with that posterior",
            "the paper's s for the part of the gradient that the label's error makes",
            "beyond",
        ),
        Method(
            "typical_influence",
            "Influence of the label error on a typical image",
            +1,
            True,
            "beyond the paper; Eq. 21 with that posterior, averaged over images",
            "s that the label's error would have on a typical image: the curvature of the classes stays, what is hard "
            "about this image goes",
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
        Method(
            "logit_margin",
            "Logit margin",
            +1,
            True,
            "baseline",
            "largest other logit minus the given label's: as the margin, but without a ceiling",
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
        Method(
            "datainf",
            "DataInf",
            -1,
            True,
            "Eq. 6; Kwon et al. 2024",
            "as the standard influence, with DataInf's closed form of the inverse, layer by layer: negative = harmful",
            "comparison",
        ),
        Method(
            "ekfac",
            "EK-FAC influence",
            -1,
            True,
            "Eq. 6, Table 10; Grosse et al. 2023",
            "as the standard influence, with the inverse in each layer's Kronecker eigenbasis: negative = harmful",
            "comparison",
        ),
        Method(
            "influence_ekfac",
            "Influence at the minimum (EK-FAC)",
            +1,
            True,
            "Eq. 21 with EK-FAC",
            "the paper's s with EK-FAC of the validation set in place of the diagonal Fisher, exact for every label",
            "inverse",
        ),
        Method(
            "influence_lissa",
            "Influence at the minimum (LiSSA)",
            +1,
            True,
            "Eq. 21, C.4, Table 13",
            "the paper's s with LiSSA on the validation set, estimated from random vectors: it may be negative",
            "inverse",
        ),
        Method(
            "influence_datainf",
            "Influence at the minimum (DataInf)",
            +1,
            True,
            "Eq. 21, C.4, Table 13",
            "the paper's s with DataInf over the validation set, estimated from random vectors: it may be negative",
            "inverse",
        ),
        Method(
            "first_train",
            "First order, training curvature",
            -1,
            True,
            "Table 6: standard, standard",
            "g_val (F_train + d)^-1 g: low = harmful. Table 6 used inverses like LiSSA's, ours is diagonal",
            "ablation",
        ),
        Method(
            "first_val",
            "First order, validation curvature",
            -1,
            True,
            "Table 6: standard, ours",
            "g_val (F_val + d)^-1 g: low = harmful. Table 6 used inverses like LiSSA's, ours is diagonal",
            "ablation",
        ),
        Method(
            "second_train",
            "Second order, training curvature",
            +1,
            True,
            "Table 6: ours, standard",
            "sum of g^2 F_val / (F_train + d)^2. Table 6 used inverses like LiSSA's, ours is diagonal",
            "ablation",
        ),
    )
}

DEFAULT_METHODS: tuple[str, ...] = tuple(key for key, method in METHODS.items() if method.group == "main")
"""What is scored when nobody says otherwise."""
