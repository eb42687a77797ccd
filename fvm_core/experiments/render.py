"""Tables and figures as text: Markdown and CSV, ours beside the paper's, with what differs named under each."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

from fvm_core.experiments.compare import as_frame, compare
from fvm_core.experiments.differences import differences
from fvm_core.experiments.published import METRICS, NOTES, PLACES, SETTINGS
from fvm_core.experiments.results import Result, read_results
from fvm_core.experiments.tables import FIGURES, TABLES, reference
from fvm_core.files import atomic_write

BEATEN = "▼"


def shown(mean: float, std: float = math.nan) -> str:
    """Return a figure as the tables print it.

    >>> shown(96.456, 0.08), shown(41.5), shown(float("nan"))
    ('96.46 ± 0.08', '41.50', '–')
    """
    if math.isnan(mean):
        return "–"
    return f"{mean:.2f}" if math.isnan(std) else f"{mean:.2f} ± {std:.2f}"


def changed(change: float) -> str:
    """Return a relative change as Table 11 prints it.

    >>> changed(-0.594), changed(float("nan"))
    (' (↓ 0.59)', '')
    """
    return "" if math.isnan(change) else f" ({'↑' if change > 0 else '↓'} {abs(change):.2f})"


def pivot(key: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table as text: column Method, then for each dataset and metric ours and the paper's.

    Ours in bold where it is the best of its column; BEATEN where a plain baseline of the same model is better.
    """
    table, lines = TABLES[key], compare(key, frame)
    sized = any(row.share < 1 for row in table.rows)
    best = {(line.dataset, line.metric): -1.0 for line in lines}
    for line in lines:
        place = line.dataset, line.metric
        best[place] = max(best[place], -1.0 if math.isnan(line.mean) else round(line.mean, 2))
    out: dict[tuple[str, float], dict[str, str]] = {}
    for line in lines:
        ours, paper = headings(key, line.dataset, line.setting, line.metric)
        label = f"{line.row}, {line.validation_size:,}" if sized else line.row
        cells = out.setdefault((line.row, line.share), {"Method": label})
        text = shown(line.mean, line.std) + changed(line.change)
        if not line.n and line.failed:
            text = "failed"
        elif round(line.mean, 2) == best[line.dataset, line.metric]:
            text = f"**{text}**"
        cells[ours] = f"{text} {BEATEN}" if line.beaten_by else text
        cells[paper] = shown(line.paper_mean, line.paper_std) + changed(line.paper_change)
    return pd.DataFrame(list(out.values())).fillna("–")


def headings(key: str, dataset: str, setting: str, metric: str) -> tuple[str, str]:
    """Return the headings of our and of the paper's column; a paper's column of another dataset names it."""
    column = reference(TABLES[key], setting)
    paper = "paper" if column == setting else f"paper, {SETTINGS[column]}"
    return f"{dataset} {METRICS[metric]}", f"{dataset} {METRICS[metric]}, {paper}"


def verdicts(key: str, frame: pd.DataFrame) -> list[str]:
    """Return a sentence for each place where a plain baseline of the same model beats our score."""
    return [
        f"{line.dataset}, {METRICS[line.metric]}: {line.beaten_by} {line.beaten_mean:.2f} is better than "
        f"{line.row} {line.mean:.2f}."
        for line in compare(key, frame)
        if line.beaten_by
    ]


def notes(result: Result) -> list[str]:
    """Return what has to be said under a table: choices that use the truth, failures, differences, odd prints."""
    frame, said = result.frame, []
    starred = frame[frame["row"].str.endswith("*") & frame["epoch"].notna()]
    for row, part in starred.groupby("row", sort=False):
        epochs = ", ".join(f"{epoch:g}" for epoch in part["epoch"])
        said.append(
            f"{row}: the training checkpoint with the best AP of each dataset and seed, a choice that uses the truth "
            f"(epochs {epochs}); its seconds are those of all checkpoints tried."
        )
    for message, part in frame[frame["error"] != ""].groupby("error", sort=False):
        said.append(f"Failed ({len(part)} cells of {', '.join(dict.fromkeys(part['row']))}): {message}")
    if result.key in NOTES:
        said.append(NOTES[result.key])
    return said


def markdown_table(frame: pd.DataFrame) -> str:
    """Return a table of texts as Markdown."""
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def markdown(result: Result) -> str:
    """Return a table or figure as Markdown, with its notes and what differs from the paper's settings."""
    if result.key in FIGURES:
        body = [f"## {FIGURES[result.key]}", markdown_table(figure_table(result))]
    else:
        beaten = verdicts(result.key, result.frame)
        name, place = PLACES[result.key]
        body = [f"## {TABLES[result.key].heading}", markdown_table(pivot(result.key, result.frame))]
        body.append(f"Mean ± standard deviation over seeds, in percent; the paper's figures: {name}, {place}.")
        if beaten:
            body.append(f"{BEATEN} A plain baseline of the same model is better than our score:")
            body.append("\n".join(f"- {sentence}" for sentence in beaten))
        body += notes(result)
    found = differences(result)
    body.append("Settings that differ from the paper's: " + ("; ".join(found) + "." if found else "none."))
    about = result.about
    body.append(
        f"Measured {about.get('created', '?')} on {about.get('machine', '?')}, version {about.get('version', '?')}."
    )
    return "\n\n".join(body) + "\n"


def figure_table(result: Result) -> pd.DataFrame:
    """Return the numbers of a figure as a small table of texts."""
    frame = result.frame
    if result.key == "figure1":
        return gaps(frame).map(lambda value: f"{value:.3g}" if isinstance(value, float) else str(value))
    if result.key == "figure2":
        names = {"accuracy": "Validation accuracy (%)", "standard": "LiSSA, AUC (%)", "tracin": "TracIn, AUC (%)"}
        wide = frame.pivot_table(index="epoch", columns="series", values="value")
        wide = wide[[name for name in names if name in wide]].rename(columns=names)
        return wide.map(shown).reset_index().rename(columns={"epoch": "Epoch"})
    return pd.DataFrame(
        {
            "Step": frame["step"], "Method": frame["method"], "AUC (%)": frame["auc"].map(shown),
            "Median, clean samples": frame["median"].map("{:.3g}".format),
            "Quartiles": [f"{low:.3g} to {high:.3g}" for low, high in zip(frame["q1"], frame["q3"], strict=True)],
        }
    )  # fmt: skip


def gaps(frame: pd.DataFrame) -> pd.DataFrame:
    """Return model, length, and the medians over samples of the true change and of the gaps |true - estimate|."""
    wide = frame.assign(
        gap_first=(frame["true"] - frame["first"]).abs(), gap_second=(frame["true"] - frame["second"]).abs()
    )
    names = {"true": "true change", "gap_first": "gap, first order", "gap_second": "gap, second order"}
    medians = wide.groupby(["model", "length"], sort=False)[list(names)].median().reset_index()
    return medians.rename(columns=names)


def write_texts(folder: Path) -> None:
    """Write tables.md and tables.csv (one line a row, dataset and metric) beside the results of a folder."""
    results = read_results(folder)
    with atomic_write(folder / "tables.md", "w", encoding="utf-8") as file:
        file.write("\n".join(markdown(result) for result in results.values()))
    with atomic_write(folder / "tables.csv", "w", encoding="utf-8") as file:
        file.write(csv(results))


def csv(results: dict[str, Result]) -> str:
    """Return all tables as CSV, as `compare` has them, with the table's key in front."""
    frames = [
        as_frame(compare(key, result.frame)).assign(table=key) for key, result in results.items() if key in TABLES
    ]
    if not frames:
        return ""
    whole = pd.concat(frames, ignore_index=True)
    ordered = whole[["table", *(name for name in whole.columns if name != "table")]]
    return ordered.to_csv(index=False, float_format="%.4f")
