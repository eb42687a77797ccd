"""Several reviewers: who sees what, whose undo, what it comes to, and the story of one image."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from review_people import press
from score_files import small_dataset

from fvm_core.errors import ReviewError
from fvm_core.review.adjudicate import adjudicate, take_back
from fvm_core.review.assign import Given, assign, second_pass, split, take_over
from fvm_core.review.decision import Entry
from fvm_core.review.export import corrected_labels, export_provenance, write_export
from fvm_core.review.history import image_history
from fvm_core.review.imports.decision_file import read_decisions
from fvm_core.review.imports.decisions import Taken, import_decisions
from fvm_core.review.log import DecisionLog
from fvm_core.review.log_file import import_log, is_log, log_table, read_log, write_log
from fvm_core.review.outcome import outcome_of, settle
from fvm_core.review.session import ReviewSession, open_session
from fvm_core.workspace import Workspace

DATASET = small_dataset(20, 10)
IMAGES = DATASET.ids.tolist()


@pytest.fixture
def log(workspace: Workspace) -> DecisionLog:
    return DecisionLog(workspace.review_url)


@pytest.fixture
def session(log: DecisionLog) -> ReviewSession:
    return open_session(log, name="first", reviewer="Ada", dataset="digits", fingerprint=DATASET.fingerprint)


def say(log: DecisionLog, session: ReviewSession, who: str, **labels: int | None) -> None:
    log.append(session.id, [press(sample, label) for sample, label in labels.items()], reviewer=who)


def undo(log: DecisionLog, session: ReviewSession, who: str, sample: str) -> int | None:
    log.append(session.id, [press(sample, None, action="undo")], reviewer=who)
    return log.read(session.id)[-1].undoes


# Assignment.


@pytest.mark.parametrize("way", ["turns", "blocks"])
def test_split_gives_every_image_to_one_and_an_overlap_to_two(way: str) -> None:
    names = ["Ada", "Bob", "Cy"]
    alone = split(IMAGES, names, way=way)
    assert [one.sample for one in alone] == IMAGES and not any(one.blind for one in alone)
    assert max(Counter(one.reviewer for one in alone).values()) - min(Counter(o.reviewer for o in alone).values()) <= 1
    owners = [one.reviewer for one in alone]
    assert owners[:4] == (["Ada", "Bob", "Cy", "Ada"] if way == "turns" else ["Ada"] * 4)
    both = split(IMAGES, names, way=way, overlap=0.3, seed=4)
    people = {sample: [one.reviewer for one in both if one.sample == sample] for sample in IMAGES}
    twice = {sample for sample, found in people.items() if len(found) == 2}
    assert len(twice) == 6 and all(len(set(found)) == len(found) for found in people.values())
    assert {one.sample for one in both if one.blind} == twice and both == split(
        IMAGES, names, way=way, overlap=0.3, seed=4
    )
    loads = Counter(one.reviewer for one in both)
    assert sum(loads.values()) == 26 and max(loads.values()) - min(loads.values()) <= 1
    assert all(len(set(found)) == 3 for found in _people(split(IMAGES, names, overlap=1, people=3)).values())


def _people(given: list[Given]) -> dict[str, list[str]]:
    return {sample: [one.reviewer for one in given if one.sample == sample] for sample in IMAGES}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reviewers": []}, "at least one name and none twice"),
        ({"reviewers": ["Ada", " Ada "]}, "at least one name and none twice"),
        ({"reviewers": ["A\u200bda", "B"]}, "must have visible characters only"),
        ({"way": "luck"}, "`way` must be one of"),
        ({"overlap": 1.5}, r"`overlap` must be in \[0, 1\], got 1.5"),
        ({"overlap": 0.5, "people": 3}, r"`people` must be 2 to the number of reviewers \(2\), got 3"),
    ],
)
def test_split_refuses_what_cannot_be(change: dict[str, object], message: str) -> None:
    arguments = {"reviewers": ["Ada", "Bob"]} | change
    with pytest.raises(ReviewError, match=message):
        split(IMAGES, **arguments)  # type: ignore[arg-type]


def test_everyone_sees_their_share_and_the_rest_is_nobodys(log: DecisionLog, session: ReviewSession) -> None:
    assert log.assignments(session.id).wanted("Ada", IMAGES) is None
    given = split(IMAGES[:6], ["Ada", "Bob"])
    assert assign(log, session.id, given, by="Ada", batch="b1") == 6
    assert assign(log, session.id, given, by="Ada", batch="b1") == 0, "the same batch again adds nothing"
    now = log.assignments(session.id)
    mine = {who: [s for s, w in zip(IMAGES, now.wanted(who, IMAGES) or [], strict=True) if w] for who in "ABC"}
    assert mine == {"A": IMAGES[6:], "B": IMAGES[6:], "C": IMAGES[6:]} and now.reviewers == ("Ada", "Bob")
    assert [s for s, w in zip(IMAGES, now.wanted("Ada", IMAGES) or [], strict=True) if w] == IMAGES[0:6:2]
    say(log, session, "Bob", **{IMAGES[1]: 3})
    moved = take_over(log, session.id, source="Bob", target="Cy", replay=log.replay(session.id))
    assign(log, session.id, moved, by="Ada")
    for found in (log.assignments(session.id), DecisionLog(str(log.engine.url)).assignments(session.id)):
        assert set(found.of["Bob"]) == {IMAGES[1]} and set(found.of["Cy"]) == {IMAGES[3], IMAGES[5]}
    with pytest.raises(ReviewError, match="somebody else than 'Bob'"):
        take_over(log, session.id, source="Bob", target=" Bob", replay=log.replay(session.id))
    with pytest.raises(ReviewError, match="must be a review of this database"):
        assign(log, "nowhere", given, by="Ada")


def test_second_pass_asks_those_who_have_not_decided(log: DecisionLog, session: ReviewSession) -> None:
    say(log, session, "Ada", **dict.fromkeys(IMAGES[:4], 3), **dict.fromkeys(IMAGES[4:8], 5))
    say(log, session, "Bob", **{IMAGES[8]: 3, IMAGES[4]: 6})
    replay = log.replay(session.id)
    kept = second_pass(replay, ["Ada", "Bob"], choice="kept")
    assert {one.sample: one.reviewer for one in kept} == dict.fromkeys(IMAGES[:4], "Bob") | {IMAGES[8]: "Ada"}
    assert all(one.blind for one in kept)
    changed = second_pass(replay, ["Bob"], choice="changed")
    assert {one.sample for one in changed} == set(IMAGES[5:8]), "Bob has decided the fifth himself"
    assert [one.sample for one in second_pass(replay, ["Cy"], choice="disputed")] == [IMAGES[4]]
    some = second_pass(replay, ["Cy"], choice="share", share=0.5, seed=3)
    assert len(some) == 4 and some == second_pass(replay, ["Cy"], choice="share", share=0.5, seed=3)
    for change, message in (
        ({"choice": "best"}, "`choice` must be one of"),
        ({"choice": "kept", "share": 0.0}, r"`share` must be in \(0, 1\], got 0.0"),
        ({"choice": "kept", "reviewers": []}, "at least one name, got none"),
    ):
        with pytest.raises(ReviewError, match=message):
            second_pass(replay, **({"reviewers": ["Cy"]} | change))  # type: ignore[arg-type]


# Blind, undo, outcome.


def test_on_blind_images_each_sees_only_their_own_decision(log: DecisionLog, session: ReviewSession) -> None:
    blind, open_one = IMAGES[0], IMAGES[1]
    assign(log, session.id, [Given(blind, "Ada", True), Given(blind, "Bob", True)], by="Ada")
    say(log, session, "Ada", **{blind: 5, open_one: 5})
    replay, hidden = log.replay(session.id), log.assignments(session.id).blind
    assert set(replay.seen_by("Bob", hidden).states()) == {open_one} and hidden == {blind}
    assert set(replay.seen_by("Ada", hidden).states()) == {blind, open_one}
    say(log, session, "Bob", **{blind: 3, open_one: 3})
    replay = log.replay(session.id)
    assert {s: d.label for s, d in replay.seen_by("Ada", hidden).states().items()} == {blind: 5, open_one: 3}
    assert {s: d.label for s, d in replay.seen_by("Bob", hidden).states().items()} == {blind: 3, open_one: 3}
    assert replay.seen_by("Bob", hidden).counts(20).kept == 2
    assert [d.sample for d in replay.seen_by("Ada", hidden).history(9)] == [open_one, blind]


def test_undo_takes_back_ones_own_decision_over_sessions_and_restarts(
    log: DecisionLog, session: ReviewSession, workspace: Workspace
) -> None:
    one, two = IMAGES[:2]
    say(log, session, "Ada", **{one: 5, two: 5})
    say(log, session, "Bob", **{one: 6})
    numbers = [decision.number for decision in log.read(session.id)]
    log.close()
    log = DecisionLog(workspace.review_url)
    assert undo(log, session, "Ada", one) == numbers[0], "not Bob's, though his is the latest"
    held = log.replay(session.id).state(one)
    assert held is not None and (held.reviewer, held.label) == ("Bob", 6)
    assert undo(log, session, "Ada", one) is None, "nothing of hers is left there"
    assert undo(log, session, "Cy", two) is None
    assert undo(log, session, "Bob", one) == numbers[2] and log.replay(session.id).state(one) is None
    assert [d.sample for d in log.replay(session.id).seen_by("Ada").history(9)] == [two]


def test_disputes_wait_for_an_adjudicator_and_are_never_settled_silently(
    log: DecisionLog, session: ReviewSession
) -> None:
    same, split_, skipped, half, outside = IMAGES[:5]
    blind = (same, split_, skipped, half)
    assign(log, session.id, [Given(s, who, True) for s in blind for who in ("Ada", "Bob")], by="Ada")
    say(log, session, "Ada", **{same: 5, split_: 5, skipped: None, half: 5, outside: 5})
    say(log, session, "Bob", **{same: 5, split_: 3, skipped: 6, outside: 6})

    def now() -> dict[str, tuple[str, int | None]]:
        found = settle(log.replay(session.id), log.assignments(session.id).blind)
        return {s: (kind, found.states[s].label if s in found.states else None) for s, kind in found.kinds.items()}

    assert now() == {
        same: ("agreed", 5), split_: ("disputed", None), skipped: ("decided", 6), half: ("decided", 5),
        outside: ("decided", 6),
    }  # fmt: skip
    adjudicate(log, session.id, split_, 7, classes=10, reviewer="Cy")
    assert now()[split_] == ("adjudicated", 7)
    settled = log.replay(session.id).settled()[split_]
    assert (settled.role, settled.reviewer, settled.action, settled.score) == ("adjudicate", "Cy", "pick", 1.5)
    say(log, session, "Ada", **{split_: 3})
    assert now()[split_] == ("adjudicated", 7), "a reviewer's later word does not unsettle it"
    assert undo(log, session, "Cy", split_) is None, "the gallery's undo leaves settlements alone"
    with pytest.raises(ReviewError, match="settled by 'Ada' to be taken back, but is by 'Cy'"):
        take_back(log, session.id, split_, reviewer="Ada")
    take_back(log, session.id, split_, reviewer="Cy")
    assert now()[split_] == ("agreed", 3)
    for sample, label, message in ((same, 1, "that reviewers disagree on, got"), (outside, 1, "disagree on")):
        with pytest.raises(ReviewError, match=message):
            adjudicate(log, session.id, sample, label, classes=10, reviewer="Cy")
    say(log, session, "Bob", **{split_: 6})
    with pytest.raises(ReviewError, match=r"`label` must be a class in \[0, 10\), got 10"):
        adjudicate(log, session.id, split_, 10, classes=10, reviewer="Cy")


def test_history_of_one_image_over_reviews_tells_who_when_and_what_was_undone(
    log: DecisionLog, session: ReviewSession
) -> None:
    later = open_session(log, name="later", reviewer="Bob", dataset="digits", fingerprint=DATASET.fingerprint)
    other = open_session(log, name="first", reviewer="Bob", dataset="else", fingerprint="f2")
    image = IMAGES[0]
    say(log, session, "Ada", **{image: 5})
    undo(log, session, "Ada", image)
    say(log, later, "Bob", **{image: 6})
    say(log, other, "Eve", **{image: 6})
    found = image_history(log, image, fingerprint=DATASET.fingerprint).events
    assert [(e.review, e.decision.reviewer, e.decision.action, e.undone is not None) for e in found] == [
        ("first", "Ada", "pick", True), ("first", "Ada", "undo", False), ("later", "Bob", "pick", False),
    ]  # fmt: skip
    assert found[0].decision.score == 1.5 and found[0].decision.run == "demo" and found[0].decision.decided_at > "2026"
    assign(log, later.id, [Given(image, "Bob", True), Given(image, "Cy", True)], by="Ada")
    hidden = image_history(log, image, fingerprint=DATASET.fingerprint, viewer="Cy")
    assert hidden.hidden == 1 and [e.review for e in hidden.events] == ["first", "first"]
    say(log, later, "Cy", **{image: 6})
    assert image_history(log, image, fingerprint=DATASET.fingerprint, viewer="Cy").hidden == 0


# The log as a file.


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_log_moves_to_another_workspace_once(
    log: DecisionLog, session: ReviewSession, tmp_path: Path, suffix: str
) -> None:
    say(log, session, "=Ada", **{IMAGES[0]: 5, IMAGES[1]: None})
    say(log, session, "Bob", **{IMAGES[0]: 6})
    undo(log, session, "=Ada", IMAGES[0])
    undo(log, session, "=Ada", IMAGES[0])
    path = tmp_path / f"log{suffix}"
    write_log(path, log_table(log, session))

    there = DecisionLog(f"sqlite:///{tmp_path / 'there.sqlite'}")
    target = open_session(there, name="team", reviewer="Cy", dataset="d", fingerprint=DATASET.fingerprint)
    say(there, target, "Cy", **{IMAGES[2]: 3})
    first = import_log(there, target, read_log(path), DATASET)
    assert (first.new, first.known, first.reviewers) == (4, 1, ("=Ada", "Bob"))
    again = import_log(there, target, read_log(path), DATASET)
    assert (again.new, again.known) == (0, 5)

    def told(of: DecisionLog, where: ReviewSession) -> list[tuple[object, ...]]:
        rows = of.read(where.id)
        at = {d.number: (d.client, d.seq) for d in rows}
        return [(d.client, d.seq, d.sample, d.action, d.label, d.score, d.reviewer, d.decided_at, at.get(d.undoes))
                for d in rows if d.reviewer != "Cy" and (d.action != "undo" or d.undoes)]  # type: ignore[arg-type]  # fmt: skip

    assert told(there, target) == told(log, session)
    assert import_log(log, session, read_log(path), DATASET).new == 0, "its own log adds nothing"
    assert {s: d.label for s, d in there.replay(target.id).states().items()} == {
        IMAGES[0]: 6, IMAGES[1]: 3, IMAGES[2]: 3,
    }  # fmt: skip
    there.close()


def test_a_log_that_does_not_fit_is_refused_and_nothing_is_written(
    log: DecisionLog, session: ReviewSession, tmp_path: Path
) -> None:
    say(log, session, "Ada", **{IMAGES[0]: 5, IMAGES[1]: 6})
    frame = log_table(log, session)
    there = DecisionLog(f"sqlite:///{tmp_path / 'there.sqlite'}")
    target = open_session(there, name="team", reviewer="Cy", dataset="d", fingerprint=DATASET.fingerprint)
    for change, message in (
        ({"dataset_fingerprint": "0" * 64}, "the log must be of this dataset"),
        ({"sample": "elsewhere"}, "`sample` must be an image of this dataset, got 'elsewhere'"),
        ({"label": 10}, r"`label` must be a class in \[0, 10\), got 10"),
        ({"action": "burn"}, "`action` must be one of"),
        ({"role": "king"}, "`role` must be one of"),
        ({"decided_at": "yesterday"}, "damaged row on"),
        ({"decided_at": "2026-01-01T00:00:00"}, "`decided_at` must have a time zone"),
        ({"reviewer": " "}, "`reviewer` must have 1 to 80"),
    ):
        worse = frame.copy()
        for name, value in change.items():
            worse.loc[1, name] = value
        with pytest.raises(ReviewError, match=message):
            import_log(there, target, worse, DATASET)
    assert there.read(target.id) == []
    import_log(there, target, frame, DATASET)
    with pytest.raises(ReviewError, match="must be the same here and in the file, but differs"):
        import_log(there, target, frame.assign(reviewer="Eve"), DATASET)
    (tmp_path / "x.csv").write_text("id,label\na,1\n")
    with pytest.raises(ReviewError, match=r"must be a log of decisions, but lacks .*client"):
        read_log(tmp_path / "x.csv")
    there.close()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_exported_labels_say_who_disagrees_and_come_back_once(
    log: DecisionLog, session: ReviewSession, workspace: Workspace, suffix: str
) -> None:
    kept, split_, undone = IMAGES[:3]
    say(log, session, "=Ada", **{kept: 5, split_: 5, undone: 6})
    say(log, session, "Bob", **{split_: 6})
    undo(log, session, "=Ada", undone)
    assign(log, session.id, [Given(split_, "Bob", True)], by="Bob")
    outcome = outcome_of(log, session.id)
    frame = corrected_labels(DATASET, outcome.states, outcomes=outcome.kinds)
    row = frame.set_index("id").loc[split_]
    assert (row["outcome"], row["label"], row["action"]) == ("disputed", row["given_label"], "")
    about = export_provenance(session, DATASET, outcome.counts(20), None, outcome=outcome)
    assert about["people"]["disputed"] == [split_] and about["people"]["outcomes"]["disputed"] == 1
    assert about["people"]["reviewers"] == ["=Ada", "Bob"] and about["counts"]["picked"] == 1
    path = getattr(write_export(workspace, "mine", frame, about), suffix)
    own = import_decisions(log, session.id, read_decisions(path, DATASET), DATASET, reviewer="Cy")
    assert not is_log(path) and own == Taken(0, 1, ()), "its own export is known"

    other = open_session(log, name="other", reviewer="Cy", dataset="digits", fingerprint=DATASET.fingerprint)
    for new in (1, 0):
        taken = import_decisions(log, other.id, read_decisions(path, DATASET), DATASET, reviewer="Cy")
        assert taken == Taken(new, 1 - new, ())
    assert {s: (d.label, d.reviewer) for s, d in log.replay(other.id).states().items()} == {kept: (5, "Cy")}
    (workspace.root / "x.csv").write_text("id,label\na,1\n")
    with pytest.raises(ReviewError, match=r"must be labels exported from a review, but lacks .*'action'"):
        read_decisions(workspace.root / "x.csv", DATASET)


def test_a_role_is_checked() -> None:
    with pytest.raises(ReviewError, match="`role` must be one of"):
        Entry(client="t", seq=1, sample="a", action="keep", label=1, given=1, role="boss")
