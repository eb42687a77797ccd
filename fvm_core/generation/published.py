"""The figures of Tables 4 and 5 as the paper prints them, to stand beside ours. No torch here: pages read it.

Source: Ye et al., *Towards Robust Influence Functions with Flat Validation Minima*, ICML 2025. In percent, mean and
standard deviation over validation samples. `DIFFERENCES` says what is not the same here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TASKS: dict[str, str] = {
    "sentences": "Sentence transformations (Table 4)",
    "problems": "Math problems with reasoning (Table 4)",
    "styles": "Style generation (Table 5)",
    "subjects": "Subject generation (Table 5)",
}
"""Task -> what it is called, and where it is printed."""

DIFFERENCES: dict[str, str] = {
    "sentences": "The paper tunes Llama-2-13B-chat on the sentences of the DataInf paper; ours are drawn by a seed "
    "after the same ten transformations (Table 7).",
    "problems": "The paper tunes Llama-2-13B-chat on the problems of the DataInf paper, with reasoning; ours are drawn "
    "by a seed after the same ten kinds (Table 8).",
    "styles": "The paper tunes stable-diffusion-v1.5 on cartoons, pixel-art and line sketches from the web; the digits "
    "in three styles that are made here are far smaller.",
    "subjects": "The paper tunes stable-diffusion-v1.5 on photographs of 30 subjects; the single digits that are "
    "made here, each turned and moved, are far smaller.",
}
_PRINTED = """
sentences | TracIn     | 94.95 6.14   | 70.97 25.18
sentences | DataInf    | 99.58 1.96   | 96.18 9.33
sentences | VM         | 99.97 0.16   | 99.10 2.79
sentences | FVM        | 99.92 0.18   | 98.47 2.90
problems  | TracIn     | 78.50 17.77  | 26.61 39.95
problems  | DataInf    | 99.86 0.68   | 97.37 6.97
problems  | VM         | 99.96 0.21   | 98.86 3.28
problems  | FVM        | 99.99 0.07   | 99.38 1.65
styles    | TracIn     | 60.48 6.77   | 49.00 8.13
styles    | DataInf    | 61.13 7.10   | 51.84 6.71
styles    | TracIn †   | 69.2 0.7     | 53.3 0.8
styles    | DataInf †  | 82.0 0.5     | 68.7 0.6
styles    | VM         | 92.19 5.25   | 79.85 8.62
styles    | FVM        | 92.03 5.27   | 79.62 8.61
subjects  | TracIn     | 62.95 25.53  | 19.61 23.73
subjects  | DataInf    | 57.73 23.90  | 30.39 26.03
subjects  | TracIn †   | 82.0 0.0     | 21.0 0.3
subjects  | DataInf †  | 86.5 0.0     | 31.5 0.3
subjects  | VM         | 92.69 11.14  | 52.94 31.95
subjects  | FVM        | 92.87 10.44  | 55.39 30.04
"""


@dataclass(frozen=True)
class PublishedRow:
    """One printed line: `task` a key of TASKS, `method` as printed (†: as reported by the DataInf paper)."""

    task: str
    method: str
    auc: float
    auc_std: float
    recall: float
    recall_std: float


def _row(line: str) -> PublishedRow:
    task, method, *cells = (part.strip() for part in line.split("|"))
    (auc, auc_std), (recall, recall_std) = (map(float, re.findall(r"[\d.]+", cell)) for cell in cells)
    return PublishedRow(task, method, auc, auc_std, recall, recall_std)


PRINTED: tuple[PublishedRow, ...] = tuple(_row(line) for line in _PRINTED.strip().splitlines())


def printed_rows(task: str) -> dict[str, PublishedRow]:
    """Return the lines of a task by the method's name.

    >>> printed_rows("problems")["FVM"].auc
    99.99
    """
    return {row.method: row for row in PRINTED if row.task == task}


def task_like(name: str) -> str:
    """Return the task that a set of pairs sounds like, "" for none.

    >>> task_like("my-sentences-train"), task_like("holiday")
    ('sentences', '')
    """
    return next((task for task in TASKS if task[:-1] in name.lower()), "")
