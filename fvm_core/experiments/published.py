"""The figures that the paper prints, as data: what stands beside ours. No torch here: pages read it.

Source: Ye et al., *Towards Robust Influence Functions with Flat Validation Minima*, ICML 2025. Tables 4 and 5 (text and
image generation) are not here. Rows, columns and values are as printed; `NOTES` says where the print is odd.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

SETTINGS = {
    "aggre": "CIFAR-10N Aggre", "random1": "CIFAR-10N Random", "worse": "CIFAR-10N Worst",
    "cifar100n": "CIFAR-100N Noisy",
}  # fmt: skip
"""The paper's columns: label setting -> its name there."""

METRICS = {"auc": "ROC AUC", "ap": "AP", "relabel_all": "Top-1 accuracy"}


@dataclass(frozen=True)
class Published:
    """One printed number: `table` and `row` as in `tables.TABLES`, `setting` one of SETTINGS, `metric` one of METRICS;
    `share` of the 10,000 validation images; `mean` and `std` in percent, `std` None where none is printed."""

    table: str
    row: str
    setting: str
    metric: str
    mean: float
    std: float | None = None
    share: float = 1.0


@dataclass(frozen=True)
class Printed:
    """A table as printed: its name and place in the paper, its columns, and a line a row with `mean` or `mean std`
    in each cell (`-` where none is printed). A row may end in `@ share`."""

    table: str
    name: str
    place: str
    columns: tuple[tuple[str, str], ...]
    rows: str

    def cells(self) -> Iterator[Published]:
        """Yield every number of the table."""
        for line in self.rows.strip().splitlines():
            label, *values = (part.strip() for part in line.split("|"))
            row, _, share = (part.strip() for part in label.partition("@"))
            for (setting, metric), value in zip(self.columns, values, strict=True):
                numbers = [float(number) for number in re.findall(r"[\d.]+", value)]
                if numbers:
                    std = numbers[1] if len(numbers) > 1 else None
                    yield Published(self.table, row, setting, metric, numbers[0], std, float(share or 1))


BOTH = ("auc", "ap")
DETECTION = tuple((setting, metric) for setting in SETTINGS for metric in BOTH)

PRINTED: tuple[Printed, ...] = (
    Printed(
        "table1", "Table 1", "Section 4.1", DETECTION,
        """
LiSSA    | 59.74 2.91 | 33.45 1.75 | 59.78 2.77 | 45.01 2.70 | 65.75 0.39 | 68.35 0.74 | 57.48 1.70 | 51.28 0.87
LiSSA*   | 63.70 1.09 | 49.58 0.99 | 73.48 1.90 | 67.81 2.23 | 78.96 1.46 | 81.31 1.32 | 53.95 1.59 | 56.54 1.08
TracIn   | 53.91 5.85 | 28.94 5.10 | 61.61 0.74 | 43.83 1.79 | 65.74 2.32 | 62.91 1.75 | 56.13 2.51 | 52.34 2.62
GEX      | 87.38 1.21 | 78.01 1.05 | 91.11 0.53 | 87.57 0.42 | 93.28 0.10 | 94.16 0.10 | 90.17 0.70 | 89.05 0.53
DataInf  | 58.50 3.98 | 30.53 1.62 | 54.50 2.32 | 38.15 2.73 | 55.49 1.45 | 57.14 1.53 | 53.69 1.35 | 48.73 1.10
DataInf* | 63.31 1.44 | 49.98 1.92 | 73.85 3.33 | 68.57 4.65 | 81.36 1.98 | 83.99 1.69 | 50.95 1.14 | 53.74 0.48
VM       | 95.18 0.15 | 76.31 0.21 | 95.92 0.10 | 87.35 0.45 | 95.88 0.13 | 94.27 0.21 | 89.77 0.08 | 83.81 0.18
FVM      | 96.14 0.06 | 79.53 0.27 | 96.63 0.03 | 88.82 0.26 | 96.46 0.08 | 94.97 0.12 | 90.80 0.04 | 85.41 0.05
""",
    ),
    Printed(
        "table2", "Table 2", "Section 4.2",
        tuple((setting, "relabel_all") for setting in ("aggre", "random1", "worse")),
        """
LiSSA    |  5.28  3.15 |  9.04 2.70 | 19.32 2.59
LiSSA*   | 31.33  8.97 | 75.87 4.54 | 71.47 1.71
TracIn   | 37.08  4.99 | 53.28 8.86 | 50.66 0.92
GEX      | 30.19  3.95 | 54.03 4.31 | 80.35 1.92
DataInf  |  5.59  2.20 | 22.24 5.41 | 21.25 7.36
DataInf* | 40.58 14.48 | 81.57 4.07 | 76.19 0.87
VM       | 94.17  0.02 | 91.94 0.08 | 85.01 0.35
FVM      | 94.63  0.04 | 92.46 0.07 | 86.09 0.38
""",
    ),
    Printed(
        "table3", "Table 3", "Section 4.2", (("cifar100n", "relabel_all"),),
        """
LiSSA    |  0.28 0.07
LiSSA*   |  2.55 0.92
TracIn   | 20.11 2.50
GEX      | 22.41 0.46
DataInf  |  1.24 0.56
DataInf* |  5.81 2.70
VM       | 58.13 0.15
FVM      | 70.61 0.24
""",
    ),
    Printed(
        "table6", "Table 6", "Section 4.5", (("worse", "auc"), ("worse", "ap")),
        """
standard / standard | 41.52 | 55.40
standard / ours     | 33.38 | 47.64
ours / standard     | 95.93 | 91.38
ours / ours         | 96.46 | 94.97
""",
    ),
    Printed(
        "table10", "Table 10", "Appendix C.1", DETECTION,
        """
EK-FAC   | 57.03 0.55 | 39.71 1.41 | 69.85 1.77 | 57.70 1.66 | 72.18 9.20 | 72.81 8.64 | 60.30 1.30 | 59.37 0.87
EK-FAC*  | 70.02 1.40 | 60.51 1.42 | 81.55 0.49 | 76.58 0.07 | 80.24 5.13 | 81.72 4.66 | 62.72 1.51 | 64.86 1.02
VM       | 95.18 0.15 | 76.31 0.21 | 95.92 0.10 | 87.35 0.45 | 95.88 0.13 | 94.27 0.21 | 89.77 0.08 | 83.81 0.18
FVM      | 96.14 0.06 | 79.53 0.27 | 96.63 0.03 | 88.82 0.26 | 96.46 0.08 | 94.97 0.12 | 90.80 0.04 | 85.41 0.05
""",
    ),
    Printed(
        "table11", "Table 11", "Appendix C.2", (("worse", "auc"), ("worse", "ap")),
        """
LiSSA @ 1   | 65.75 0.39 | 68.35 0.74
LiSSA @ 0.5 | 65.84 0.35 | 68.35 0.95
LiSSA @ 0.2 | 65.60 0.49 | 67.75 1.27
LiSSA @ 0.1 | 64.79 0.94 | 66.54 1.74
VM @ 1      | 95.88 0.13 | 94.27 0.21
VM @ 0.5    | 95.31 0.19 | 93.44 0.14
VM @ 0.2    | 94.37 0.27 | 92.11 0.16
VM @ 0.1    | 93.07 0.65 | 90.26 0.69
FVM @ 1     | 96.46 0.08 | 94.97 0.12
FVM @ 0.5   | 95.68 0.23 | 93.71 0.22
FVM @ 0.2   | 94.86 0.21 | 92.60 0.14
FVM @ 0.1   | 93.72 0.53 | 90.94 0.54
""",
    ),
    Printed(
        "table12", "Table 12", "Appendix C.3",
        (("worse", "auc"), ("worse", "ap"), ("cifar100n", "auc"), ("cifar100n", "ap")),
        """
SAM   | 96.46 0.08 | 94.97 0.12 | 90.80 0.04 | 85.41 0.05
ASAM  | 96.71 0.14 | 95.11 0.19 | 90.83 0.11 | 85.25 0.22
F-SAM | 96.76 0.10 | 95.29 0.14 | 91.25 0.04 | 86.06 0.03
""",
    ),
    Printed(
        "table13", "Table 13", "Appendix C.4", DETECTION,
        """
VM / LiSSA     | 95.22 | 67.36 | 95.67 | 78.90 | 95.00 | 89.26 | 88.88 | 80.89
VM / DataInf   | 95.37 | 72.09 | 95.98 | 83.26 | 95.57 | 91.09 | 89.58 | 82.81
VM / Diagonal  | 95.18 | 76.31 | 95.92 | 87.35 | 95.88 | 94.27 | 89.77 | 83.81
FVM / LiSSA    | 95.95 | 70.71 | 96.17 | 80.16 | 95.33 | 89.56 | 89.48 | 81.81
FVM / DataInf  | 96.18 | 76.15 | 96.58 | 84.85 | 96.02 | 91.54 | 90.24 | 83.81
FVM / Diagonal | 96.63 | 88.82 | 96.63 | 88.82 | 96.46 | 94.97 | 90.80 | 85.41
""",
    ),
)  # fmt: skip

NOTES: dict[str, str] = {
    "table3": "The paper prints this row as TM; its text names the method VM.",
    "table13": "The paper prints 96.63 / 88.82 for FVM / Diagonal on Aggre, the figures of Random; its Table 1 has "
    "96.14 / 79.53.",
}
"""Where the print is odd."""

PLACES: dict[str, tuple[str, str]] = {item.table: (item.name, item.place) for item in PRINTED}

PUBLISHED: tuple[Published, ...] = tuple(cell for item in PRINTED for cell in item.cells())

_BY_KEY = {(cell.table, cell.row, cell.share, cell.setting, cell.metric): cell for cell in PUBLISHED}


def published(table: str, row: str, setting: str, metric: str, *, share: float = 1.0) -> Published | None:
    """Return what the paper prints there, None where it prints nothing.

    >>> published("table1", "FVM", "worse", "auc").mean
    96.46
    """
    return _BY_KEY.get((table, row, share, setting, metric))
