"""What each table and figure consists of: its rows, each a model, a method and a checkpoint. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fvm_core.data.dataset import DatasetSpec
from fvm_core.errors import SettingsError
from fvm_core.experiments.published import PLACES, SETTINGS

SOLVERS: dict[str, str] = {"vm": "sgd", "fvm": "sam", "asam": "asam", "fsam": "fsam"}
"""Tuned models of the grid -> their solver; `base` is the model before tuning."""

MODEL_TITLES = {"base": "base", "vm": "VM", "fvm": "FVM", "asam": "FVM (ASAM)", "fsam": "FVM (F-SAM)"}
BASELINES = {
    "loss": "Loss", "margin": "Margin", "logit_margin": "Logit margin", "el2n": "EL2N",
    "confident": "Confident learning",
}  # fmt: skip
BEYOND = {
    "posterior": "Label error posterior", "error_influence": "Influence of the label error",
    "typical_influence": "Influence of the label error, typical image",
}  # fmt: skip
"""Scores of ours that are not in the paper."""


@dataclass(frozen=True)
class Row:
    """One row of a table: `label` as the paper has it, `model` base or a key of SOLVERS, `method` a key of METHODS.

    `starred`: scored at the training checkpoint where this method's AP is best, which uses the truth. `share` of the
    validation set. `kind`: `paper`, `baseline` (a plain score of the same model, which the paper leaves out) or `extra`
    (ours, not in the paper's table). `relabel`: suggested labels are wanted, not only the score.
    """

    label: str
    model: str
    method: str
    starred: bool = False
    share: float = 1.0
    kind: str = "paper"
    relabel: bool = True

    @property
    def ours(self) -> bool:
        """Whether this is the paper's own score, the one that a plain baseline may beat."""
        return self.method == "influence" and self.model != "base"


@dataclass(frozen=True)
class Table:
    """`metrics` are keys of `published.METRICS`; `only` are the settings that the paper's table is about (empty: all);
    of several datasets at hand those are taken, see `datasets_for`."""

    key: str
    title: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    only: tuple[str, ...] = ()

    @property
    def heading(self) -> str:
        """Return the table's name and what it shows.

        >>> TABLES["table6"].heading
        'Table 6: ablation of loss change / parameter change'
        """
        return f"{PLACES[self.key][0]}: {self.title}"


BASE_ROWS = tuple(
    Row(label, "base", method, starred)
    for label, method, starred in (
        ("LiSSA", "standard", False), ("LiSSA*", "standard", True), ("TracIn", "tracin", False), ("GEX", "gex", False),
        ("DataInf", "datainf", False), ("DataInf*", "datainf", True),
    )
)  # fmt: skip
OURS = (Row("VM", "vm", "influence"), Row("FVM", "fvm", "influence"))
DETECTION_BASELINES = tuple(
    Row(f"{title} ({MODEL_TITLES[model]})", model, method, kind="baseline")
    for model in ("base", "vm", "fvm")
    for method, title in BASELINES.items()
)
DETECTION_BEYOND = tuple(
    Row(f"{title} ({MODEL_TITLES[model]})", model, method, kind="extra", relabel=False)
    for model in ("vm", "fvm")
    for method, title in BEYOND.items()
)
RELABEL_BASELINES = tuple(
    Row(f"Largest probability ({MODEL_TITLES[model]})", model, "loss", kind="baseline")
    for model in ("base", "vm", "fvm")
)
SHARES = (1.0, 0.5, 0.2, 0.1)
INVERSES = {"LiSSA": "influence_lissa", "DataInf": "influence_datainf", "EK-FAC": "influence_ekfac"}


def _inverses(model: str) -> tuple[Row, ...]:
    title = MODEL_TITLES[model]
    rows = [
        Row(f"{title} / {label}", model, method, kind="extra" if label == "EK-FAC" else "paper", relabel=False)
        for label, method in INVERSES.items()
    ]
    return (*rows, Row(f"{title} / Diagonal", model, "influence"))


TABLES: dict[str, Table] = {
    table.key: table
    for table in (
        Table(
            "table1", "finding wrong labels", ("auc", "ap"),
            (*BASE_ROWS, *OURS, *DETECTION_BEYOND, *DETECTION_BASELINES),
        ),
        Table(
            "table2", "suggesting the right label, CIFAR-10N", ("relabel_all",),
            (*BASE_ROWS, *OURS, *RELABEL_BASELINES), ("aggre", "random1", "worse"),
        ),
        Table(
            "table3", "suggesting the right label, CIFAR-100N", ("relabel_all",),
            (*BASE_ROWS, *OURS, *RELABEL_BASELINES), ("cifar100n",),
        ),
        Table(
            "table6", "ablation of loss change / parameter change", ("auc", "ap"),
            (
                Row("standard / standard", "fvm", "first_train", relabel=False),
                Row("standard / ours", "fvm", "first_val", relabel=False),
                Row("ours / standard", "fvm", "second_train", relabel=False),
                Row("ours / ours", "fvm", "influence"),
            ),
            ("worse",),
        ),
        Table(
            "table10", "EK-FAC", ("auc", "ap"),
            (Row("EK-FAC", "base", "ekfac"), Row("EK-FAC*", "base", "ekfac", starred=True), *OURS),
        ),
        Table(
            "table11", "size of the validation set", ("auc", "ap"),
            tuple(
                Row(label, model, method, share=share, relabel=share == 1)
                for label, model, method in (
                    ("LiSSA", "base", "standard"), ("VM", "vm", "influence"), ("FVM", "fvm", "influence"),
                )
                for share in SHARES
            ),
            ("worse",),
        ),
        Table(
            "table12", "sharpness-aware solvers", ("auc", "ap"),
            (
                Row("SAM", "fvm", "influence"), Row("ASAM", "asam", "influence", relabel=False),
                Row("F-SAM", "fsam", "influence", relabel=False),
            ),
            ("worse", "cifar100n"),
        ),
        Table("table13", "inverse Hessians in our score", ("auc", "ap"), (*_inverses("vm"), *_inverses("fvm"))),
    )
}  # fmt: skip

FIGURES: dict[str, str] = {
    "figure1": "Figure 1: true and estimated change of the validation risk, sharp and flat",
    "figure2": "Figure 2: validation accuracy and detection along the training",
    "figure3": "Figure 3: detection and the standard influence along the tuning",
}
WHAT = (*TABLES, *FIGURES)
LABEL_SETTINGS = {
    "cifar10n": {"aggre": "aggre", "random1": "random1", "worse": "worse", "": "worse"},
    "cifar100n": {"noisy": "cifar100n", "": "cifar100n"},
    "parquet": {"aggre_label": "aggre", "random_label1": "random1", "worse_label": "worse"},
}  # fmt: skip


def setting_of(spec: DatasetSpec) -> str:
    """Return which of the paper's label settings a dataset is, "" for one that is not in the paper.

    CIFAR-10N and -100N by name; a Parquet file by the names that CIFAR-10N gives its label columns.

    >>> setting_of(DatasetSpec("parquet", "train.parquet", label="worse_label")), setting_of(DatasetSpec("digits"))
    ('worse', '')
    """
    return LABEL_SETTINGS.get(spec.kind, {}).get(spec.label, "")


def primary(settings: Sequence[str]) -> int:
    """Return which dataset gets all seeds and the figures: the first of the setting `worse`, else the first.

    >>> primary(["aggre", "worse"])
    1
    """
    return list(settings).index("worse") if "worse" in settings else 0


def datasets_for(table: Table, settings: Sequence[str]) -> list[int]:
    """Return which of the datasets (given by their settings) a table is run on.

    Those of the paper's own settings, where there are any; else all.

    >>> datasets_for(TABLES["table6"], ["worse", "aggre"]), datasets_for(TABLES["table6"], ["", ""])
    ([0], [0, 1])
    """
    matching = [place for place, setting in enumerate(settings) if setting in table.only]
    return matching if table.only and matching else list(range(len(settings)))


def chosen_what(names: Sequence[str], settings: Sequence[str]) -> tuple[str, ...]:
    """Return tables and figures in the order of WHAT; `all` takes everything that the datasets have a part in.

    Table 3 is Table 2 on CIFAR-100N: `all` leaves it out where no such dataset is there.

    Raises:
        SettingsError: none, or an unknown one.
    """
    unknown = [name for name in names if name not in (*WHAT, "all")]
    if unknown or not names:
        raise SettingsError(f"`what` must be some of {['all', *WHAT]}, got {list(names)}.")
    if "all" in names:
        hundred = "cifar100n" in settings
        return tuple(name for name in WHAT if name != "table3" or hundred or "table3" in names)
    return tuple(name for name in WHAT if name in names)


def reference(table: Table, setting: str) -> str:
    """Return the paper's column to stand beside a dataset: its own, else the first of the table's, which is another
    dataset (`worse` where there is one)."""
    columns = table.only or tuple(SETTINGS)
    return setting if setting in columns else "worse" if "worse" in columns else columns[0]
