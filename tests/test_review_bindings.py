"""The keys of each person, and bulk steps in the log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from fvm_core.errors import DataError, ReviewError
from fvm_core.review.decision import Decision, Entry
from fvm_core.review.keys import DEFAULT_KEYS, check_keys, read_keys, write_keys
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import open_session
from fvm_core.review.steps import last_steps, recent_classes, step_of
from fvm_core.review.tables import REVIEWER_KEYS

TAB = "00112233445566778899aabb"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DecisionLog]:
    opened = DecisionLog(f"sqlite:///{tmp_path / 'review.sqlite'}")
    yield opened
    opened.close()


def kept(log: DecisionLog) -> list[tuple[str, dict[str, str]]]:
    rows = log.run(lambda connection: connection.execute(select(REVIEWER_KEYS)).all(), writes=False)
    return [(row.reviewer, json.loads(row.bindings)) for row in rows]


def old_file(folder: Path, reviewer: str, text: str) -> Path:
    """Write the file that versions before the table kept a person's keys in."""
    folder.mkdir(exist_ok=True)
    path = folder / f"keys-{hashlib.sha256(reviewer.encode()).hexdigest()[:24]}.json"
    path.write_text(text)
    return path


def test_keys_follow_the_name_whatever_its_letters(log: DecisionLog) -> None:
    mine = {**DEFAULT_KEYS, "accept": "ф", "skip": "a"}
    assert write_keys(log, "  Ada   Łovelace/../..", mine) == mine
    assert read_keys(log, "Ada Łovelace/../..") == mine
    assert read_keys(log, "Grace") == dict(DEFAULT_KEYS)
    write_keys(log, "Ada Łovelace/../..", {**mine, "skip": "x"})
    assert kept(log) == [("Ada Łovelace/../..", {**mine, "skip": "x"})], "one row a person, the latest"


def test_older_keys_have_the_default_key_for_a_newer_action(log: DecisionLog) -> None:
    older = {action: key for action, key in DEFAULT_KEYS.items() if action != "zoom"} | {"keep": "j"}
    row = {"reviewer": "Ada", "bindings": json.dumps(older), "changed_at": ""}
    log.run(lambda connection: connection.execute(insert(REVIEWER_KEYS), [row]), writes=True)
    assert read_keys(log, "Ada") == {**DEFAULT_KEYS, "keep": "j"}


def test_a_key_file_of_an_older_version_is_taken_over_once(log: DecisionLog, tmp_path: Path) -> None:
    folder = tmp_path / "reviewers"
    mine = {**DEFAULT_KEYS, "keep": "j"}
    path = old_file(folder, "Ada", json.dumps({"reviewer": "Ada", "keys": mine}))
    assert read_keys(log, "Grace", folder=folder) == dict(DEFAULT_KEYS) and kept(log) == []
    assert read_keys(log, "Ada", folder=folder) == mine and kept(log) == [("Ada", mine)]
    path.write_text(json.dumps({"reviewer": "Ada", "keys": {**DEFAULT_KEYS, "keep": "q"}}))
    assert read_keys(log, "Ada", folder=folder) == mine, "the file is not read again"
    write_keys(log, "Ada", DEFAULT_KEYS)
    assert read_keys(log, "Ada", folder=folder) == dict(DEFAULT_KEYS)


@pytest.mark.parametrize("content", ["[]", '{"keys": 1}', "{"])
def test_a_damaged_file_is_named(log: DecisionLog, tmp_path: Path, content: str) -> None:
    path = old_file(tmp_path / "reviewers", "Ada", content)
    with pytest.raises(DataError, match=path.name):
        read_keys(log, "Ada", folder=path.parent)
    write_keys(log, "Ada", DEFAULT_KEYS)
    assert read_keys(log, "Ada", folder=path.parent) == dict(DEFAULT_KEYS)


def test_damaged_keys_in_the_database_are_an_error_until_they_are_reset(log: DecisionLog) -> None:
    row = {"reviewer": "Ada", "bindings": "[1", "changed_at": ""}
    log.run(lambda connection: connection.execute(insert(REVIEWER_KEYS), [row]), writes=True)
    with pytest.raises(DataError, match=r"the keys of 'Ada' in the review database must be a JSON object\. Reset"):
        read_keys(log, "Ada")
    write_keys(log, "Ada", DEFAULT_KEYS)
    assert read_keys(log, "Ada") == dict(DEFAULT_KEYS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"accept": "k"}, "`keys` must differ, got 'k' for accept and keep. Choose another key."),
        ({"accept": "A"}, "must be one visible lower-case character and no digit, got 'A'"),
        ({"accept": "5"}, "no digit, got '5'"),
        ({"accept": "²"}, "no digit"),
        ({"accept": "Enter"}, "one visible lower-case character"),
        ({"accept": "\n"}, "one visible"),
        ({"accept": ""}, "one visible"),
        ({"accept": None}, "one visible"),
        ({"fly": "f"}, "must name the actions accept, keep"),
    ],
)
def test_keys_that_cannot_work_are_refused(log: DecisionLog, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ReviewError, match=words.replace(".", r"\.")):
        write_keys(log, "Ada", {**DEFAULT_KEYS, **change})
    assert kept(log) == []


@pytest.mark.parametrize("keys", [None, [], {"accept": "a"}])
def test_anything_but_a_full_map_is_refused(keys: object) -> None:
    with pytest.raises(ReviewError, match="must name the actions"):
        check_keys(keys)


def entry(client: str, seq: int, sample: str, action: str = "accept", label: int | None = 1) -> Entry:
    return Entry(client=client, seq=seq, sample=sample, action=action, label=label, given=0)


def test_only_the_browser_s_own_form_of_a_client_is_a_step() -> None:
    assert step_of(f"{TAB}-12") == f"{TAB}-12"
    for other in (TAB, f"{TAB}-0", f"{TAB}-", f"{TAB}-1-2", f"adjudication-{TAB}", f"{TAB.upper()}-1"):
        assert step_of(other) == ""


def test_a_bulk_step_and_its_undo_come_back_from_the_log(tmp_path: Path) -> None:
    """What one key press did is found again in a later session, and one undo an image takes it back, no more."""
    url = f"sqlite:///{tmp_path / 'review.sqlite'}"
    log = DecisionLog(url)
    session = open_session(log, name="first", reviewer="Ada", dataset="d", fingerprint="f" * 64).id
    log.append(session, [entry(TAB, 1, "a", "pick", 3)], reviewer="Ada")
    log.append(session, [entry(f"{TAB}-1", k + 1, name) for k, name in enumerate("abc")], reviewer="Ada")
    log.close()
    later = DecisionLog(url)
    newest_first = later.replay(session).seen_by("Ada").history(200)
    assert [step_of(one.client) for one in newest_first] == [f"{TAB}-1"] * 3 + [""]
    step = [one for one in newest_first if step_of(one.client) == step_of(newest_first[0].client)]
    other = "ff112233445566778899aabb"
    undos = [entry(other, k + 1, one.sample, "undo", None) for k, one in enumerate(step)]
    later.append(session, undos, reviewer="Ada")
    states = later.replay(session).states()
    assert {sample: (one.action, one.label) for sample, one in states.items()} == {"a": ("pick", 3)}
    later.close()


def decision(number: int, client: str, *, action: str = "accept", label: int = 1) -> Decision:
    return Decision(
        client=client, seq=1, sample=str(number), action=action, label=label, given=0, number=number, undoes=None,
        reviewer="Ada", decided_at="",
    )  # fmt: skip


def test_a_step_at_the_edge_is_kept_whole() -> None:
    many = [decision(k, TAB if k > 90 else f"{TAB}-7" if k > 60 else f"{TAB}-6") for k in range(100, 0, -1)]
    assert [one.number for one in last_steps(many, most=5)] == list(range(100, 95, -1))
    assert [one.number for one in last_steps(many, most=12)] == list(range(100, 60, -1))
    assert last_steps([], most=12) == []


def test_recent_classes_are_those_picked_by_hand_once_each() -> None:
    labels = [4, 2, 4, 9, 7, 1]
    newest_first = [decision(9 - k, TAB, action="pick", label=label) for k, label in enumerate(labels)]
    newest_first.insert(0, replace(newest_first[0], action="accept", label=8))
    assert recent_classes(newest_first, most=4) == [4, 2, 9, 7]
