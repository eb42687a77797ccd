"""What stands in the report, section by section."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from fvm_core.data.images import thumbnail_png
from fvm_core.errors import FVMError
from fvm_core.influence.methods import METHODS
from fvm_core.influence.store import display_name, read_scores
from fvm_core.report import figures
from fvm_core.report.document import Report
from fvm_core.report.source import Source, detection_of, tuning_curves
from fvm_core.report.words import escaped, table
from fvm_core.review.confusion import by_chance, by_flags, posterior_chances
from fvm_core.review.decision import STATES
from fvm_core.workspace import Workspace

LIMITS = (
    "A flag is a suspicion, not a proof: the score tells how badly a label fits this model, and hard or rare images "
    "fit badly too.",
    "Images that nobody decided keep their given label; nothing here says that those labels are right.",
    "People decide with the suggestion before their eyes and lean towards it; a blind second pass tells by how much.",
    "Rates among decided images are not rates of the dataset: the review went through the most suspicious ones first.",
    "Scores of different methods have different units; only their order can be compared.",
)


def summary(report: Report, source: Source) -> None:
    """Add the title and the figures that matter most."""
    n, states = len(source.scores), source.states
    judged = [one for one in states.values() if one.action != "skip"]
    changed = sum(one.label != one.given for one in judged)
    tiles = [(f"{n:,}", "images scored"), (f"{len(states):,}", "decided"), (f"{changed:,}", "labels changed")]
    if judged:
        tiles.append((f"{changed / len(judged):.0%}", "of those judged were changed"))
    boxes = "".join(f"<div class=tile><b>{value}</b>{word}</div>" for value, word in tiles)
    who = source.session
    people = sorted({one.reviewer for one in states.values()})
    about = (
        f"Review {escaped(who.name)} by {escaped(', '.join(people) or who.reviewer)}. " if who else "No review yet. "
    )
    name = escaped(source.provenance["dataset"]["name"])
    report.sections.append(
        f"<header><p class=soft>FVM Studio</p><h1>Labels of {name}</h1><p>{about}Ranked by "
        f"{escaped(display_name(source.provenance))}: {escaped(METHODS[source.info.method].explains, limit=300)}.</p>"
        f"<div class=tiles>{boxes}</div></header>"
    )


def data_and_model(report: Report, source: Source, workspace: Workspace) -> None:
    """Add dataset, model and how it was tuned."""
    given = np.bincount(source.scores["label"], minlength=source.dataset.num_classes)
    rows: list[list[object]] = [
        [name, f"{count:,}"] for name, count in zip(source.dataset.class_names, given, strict=True)
    ]
    more = f"<p class=soft>and {len(rows) - 100:,} classes more</p>" if len(rows) > 100 else ""
    notes = "".join(f"<li>{escaped(note, limit=400)}</li>" for note in source.dataset.notes[:20])
    report.section("Dataset", table(rows[:100], ["class", "images given this label"]), more, f"<ul>{notes}</ul>")
    about = source.provenance["model"]
    if source.model is None:
        text = f"<p>{escaped(about['name'])} ({escaped(about.get('role', ''))}). It is no longer in the workspace.</p>"
        report.section("Model and tuning", text)
        return
    record = source.model
    facts: list[list[object]] = [["model", record.name], ["role", record.role], ["architecture", record.spec.arch]]
    facts += [["tuned from", record.parent]] if record.parent else []
    facts += [["clean set", record.validation.get("name", "")]] if record.validation else []
    facts += [[key, value] for key, value in sorted(record.settings.items()) if value is not None]
    facts += [[key, f"{value:.4g}"] for key, value in sorted(record.metrics.items()) if isinstance(value, int | float)]
    parts = [table(facts, ["", ""])]
    curve = tuning_curves(workspace, record)
    if len(curve) > 1:
        names = sorted({key for row in curve.values() for key in row})
        lines = {name: [row.get(name, float("nan")) for row in curve.values()] for name in names}
        parts.append(report.figure(*figures.curve(list(curve), lines)))
    report.section("Model and tuning", *parts)


def scores(report: Report, source: Source, workspace: Workspace) -> None:
    """Add the distribution of the score and, where the truth is known, how well it finds wrong labels."""
    wrong, ids = source.wrong(), source.scores["id"].tolist()
    if wrong is not None:
        groups = {"right labels": ~wrong, "wrong labels": wrong}
    else:
        state = [source.states.get(one) for one in ids]
        changed = np.array([one is not None and one.action != "skip" and one.label != one.given for one in state])
        kept = np.array([one is not None and one.action != "skip" and one.label == one.given for one in state])
        groups = {"undecided": ~changed & ~kept, "changed by a person": changed, "kept by a person": kept}
    title = METHODS[source.info.method].title
    drawn = figures.distribution(source.scores["score"].to_numpy(np.float64), groups, title=title)
    side = "Large" if METHODS[source.info.method].suspicious > 0 else "Low"
    report.section("Scores", f"<p>{side} scores are suspicious.</p>", report.figure(*drawn))
    if wrong is None:
        report.section("Detection", "<p>The true labels are not known: there is no ROC or precision-recall curve.</p>")
        return
    found = detection_of(workspace, source)
    rows: list[list[object]] = [[name, f"{100 * auc:.2f}", f"{100 * ap:.2f}"] for name, (_, auc, ap) in found.items()]
    drawn = figures.detection({name: one[0] for name, one in list(found.items())[:12]}, float(wrong.mean()))
    said = f"<p>{wrong.mean():.1%} of the labels are wrong. All scores of these images, the best AUC first.</p>"
    report.section("Detection", said, report.figure(*drawn), table(rows, ["score", "ROC AUC (%)", "AP (%)"]))


def confusion(report: Report, source: Source) -> None:
    """Add the transition matrix that the posterior, or else the suggestions, imply."""
    frame, c = source.scores, source.dataset.num_classes
    given, suggested = (frame[name].to_numpy(np.int64) for name in ("label", "suggested"))
    if source.info.method == "posterior":
        by_row = {row: place for place, row in enumerate(_rows(source))}
        chances = posterior_chances(source.info.path)[[by_row[one] for one in frame["id"]]]
        found, how = by_chance(chances, given), "the posterior of each image's class"
    elif (suggested >= 0).any():
        found, how = by_flags(given, suggested, suggested >= 0, c), "the suggestions, each taken as the class"
    else:
        report.section("Which label is given for which class", "<p>This score suggests no labels.</p>")
        return
    said = (
        f"<p>By {how}: {found.noise:.1%} of the labels would be wrong. An estimate; nobody looked at most of them.</p>"
    )
    if c > 60:
        report.section("Which label is given for which class", said, "<p class=soft>Too many classes to draw.</p>")
        return
    drawn = figures.transition(found.transition, source.dataset.class_names)
    report.section("Which label is given for which class", said, report.figure(*drawn))


def flagged(report: Report, source: Source, most: int, tell: Callable[[int, int], None]) -> None:
    """Add the `most` suspicious images with labels and decisions; thumbnails are made anew from their pixels."""
    names, cards = source.dataset.class_names, []
    for place, row in enumerate(source.scores.head(most).to_dict("records")):
        tell(place, most)
        state = source.states.get(row["id"])
        suggested = names[row["suggested"]] if row["suggested"] >= 0 else "none"
        decided = "undecided" if state is None else STATES[state.action]
        if state is not None and state.label is not None and state.label != state.given:
            decided += f": {names[state.label]}"
        picture = _picture(source, int(row["row"]))
        cards.append(
            f"<div class=card>{picture}<b>{escaped(names[row['label']])}</b>suggested: {escaped(suggested)}<br>"
            f"{escaped(decided)}<br><span class=soft>#{place + 1}, {row['score']:.4g}<br>"
            f"{escaped(row['id'])}</span></div>"
        )
    report.section(f"The {len(cards):,} most suspicious images", f"<div class=cards>{''.join(cards)}</div>")


def origin(report: Report, source: Source) -> None:
    """Add provenance, and what the report cannot tell."""
    report.section("What this does not tell", "<ul>", *[f"<li>{text}</li>" for text in LIMITS], "</ul>")
    told: dict[str, Any] = {**source.provenance}
    if source.session:
        told["review"] = {"id": source.session.id, "name": source.session.name, "created": source.session.created}
    rows: list[list[object]] = [[key, json.dumps(value, sort_keys=True)] for key, value in sorted(told.items())]
    report.section("Where it comes from", table(rows, ["", ""]))


def _rows(source: Source) -> list[str]:
    return read_scores(source.info.path, columns=["id"]).frame["id"].tolist()


def _picture(source: Source, index: int) -> str:
    try:
        data = base64.b64encode(thumbnail_png(source.dataset.read(index), side=128)).decode()
    except (FVMError, OSError) as error:
        return f"<p>{escaped(error, limit=200)}</p>"
    return f'<img alt="" src="data:image/png;base64,{data}">'
