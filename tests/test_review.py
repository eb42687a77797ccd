"""The log, its replay, sessions, the inbox: nothing is lost, nothing is changed after the fact."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from fvm_core.errors import ReviewError, StorageError
from fvm_core.review.decision import Entry
from fvm_core.review.inbox import Known, receive
from fvm_core.review.log import DecisionLog
from fvm_core.review.replay import Counts, Replay
from fvm_core.review.session import ReviewSession, list_sessions, open_session
from fvm_core.workspace import Workspace

KNOWN = Known(
    given=lambda sample: 3 if sample.startswith("img-") else None, classes=10, runs={"demo/influence": "ab12"}
)


@pytest.fixture
def log(workspace: Workspace) -> DecisionLog:
    return DecisionLog(workspace.review_url)


@pytest.fixture
def session(log: DecisionLog) -> ReviewSession:
    return open_session(log, name="first", reviewer="Ada", dataset="digits", fingerprint="f1")


def entry(seq: int, sample: str = "img-1", action: str = "accept", label: int | None = 5, client: str = "tab") -> Entry:
    label = None if action == "undo" else label
    return Entry(client=client, seq=seq, sample=sample, action=action, label=label, given=3, suggested=5)


def raw(seq: int, action: str = "accept", **changes: object) -> dict[str, object]:
    return {
        "client": "tab", "seq": seq, "id": f"img-{seq}", "action": action, "label": 5, "suggested": 5, "score": 2.5,
        "run": "demo/influence",
    } | changes  # fmt: skip


def payload(session: ReviewSession, *entries: dict[str, object]) -> dict[str, object]:
    return {"client": "tab", "session": session.id, "entries": list(entries)}


def test_append_twice_stores_once(log: DecisionLog, session: ReviewSession) -> None:
    entries = [entry(seq, f"img-{seq}") for seq in range(1, 61)]
    assert log.append(session.id, entries[:40], reviewer="Ada") == 40
    assert log.append(session.id, entries, reviewer="Ada") == 20
    assert log.append(session.id, entries, reviewer="Ada") == 0
    assert [decision.seq for decision in log.read(session.id)] == list(range(1, 61))
    assert log.acked(session.id, ["tab", "other"]) == {"tab": 60, "other": 0}


def test_append_reaches_another_process_before_it_returns(
    log: DecisionLog, session: ReviewSession, workspace: Workspace
) -> None:
    log.append(session.id, [entry(1), entry(2, "img-2")], reviewer="Ada")
    query = "sqlite3.connect(sys.argv[1]).execute('select count(*) from decisions').fetchone()[0]"
    script = f"import sqlite3, sys; print({query})"
    found = subprocess.run(
        [sys.executable, "-c", script, str(workspace.root / "review.sqlite")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "2"


def test_database_is_durable_and_refuses_changes(
    log: DecisionLog, session: ReviewSession, workspace: Workspace
) -> None:
    log.append(session.id, [entry(1)], reviewer="Ada")
    with log.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
    raw_connection = sqlite3.connect(workspace.root / "review.sqlite")
    for table in ("decisions", "sessions"):
        for statement in (f"UPDATE {table} SET reviewer = 'Eve'", f"DELETE FROM {table}"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                raw_connection.execute(statement)


def test_undo_is_an_entry_and_brings_back_the_decision_before(log: DecisionLog, session: ReviewSession) -> None:
    log.append(session.id, [entry(1), entry(2, action="pick", label=7), entry(3, action="undo")], reviewer="Ada")
    replay = log.replay(session.id)
    assert len(log.read(session.id)) == 3
    state = replay.state("img-1")
    assert state is not None and (state.action, state.label) == ("accept", 5)
    log.append(session.id, [entry(4, action="undo"), entry(5, action="undo")], reviewer="Ada")
    assert log.replay(session.id).state("img-1") is None
    assert log.read(session.id)[-1].undoes is None
    assert state == replay.state("img-1"), "a snapshot must not change"


def test_replay_in_steps_equals_replay_at_once(log: DecisionLog, session: ReviewSession) -> None:
    actions = ["accept", "keep", "undo", "pick", "skip", "undo", "undo", "accept"]
    for seq, action in enumerate(actions * 6, start=1):
        log.append(session.id, [entry(seq, f"img-{seq % 5}", action)], reviewer="Ada")
        stepwise = log.replay(session.id)
    at_once = Replay()
    at_once.apply(log.read(session.id))
    assert at_once.states() == stepwise.states()
    assert at_once.history(99) == stepwise.history(99)
    numbers = {d.number for d in log.read(session.id) if d.action != "undo"}
    undone = {d.undoes for d in log.read(session.id) if d.action == "undo"}
    assert {d.number for d in at_once.history(99)} == numbers - undone


def test_samples_decided_are_counted_over_all_reviews_as_their_replays_do(
    log: DecisionLog, session: ReviewSession
) -> None:
    assert log.decided() == 0
    other = open_session(log, name="second", reviewer="Ada", dataset="digits", fingerprint="f1")
    log.append(session.id, [entry(seq, f"img-{seq}", "skip" if seq == 5 else "accept") for seq in (1, 2, 3, 4, 5)],
               reviewer="Ada")  # fmt: skip
    again = [entry(1, "img-1", "keep", client="b"), entry(2, "img-2", "undo", client="b"),
             entry(3, "img-9", client="b"), entry(4, "img-9", "undo", client="b")]  # fmt: skip
    log.append(session.id, again, reviewer="Bo")
    assert log.decided() == 5, "a second opinion is no second image, and Bo has nothing of img-2 to take back"
    undo = [entry(seq, f"img-{seq - 5}", "undo") for seq in (6, 7)]
    log.append(session.id, undo, reviewer="Ada")
    assert log.decided() == 4, "img-1 still has Bo's decision, img-2 has none"
    settled = replace(entry(5, "img-2", client="b"), role="adjudicate")
    log.append(session.id, [settled], reviewer="Bo")
    log.append(other.id, [entry(1, "img-1")], reviewer="Ada")
    assert log.decided() == 5
    assert log.decided() == sum(log.replay(one.id).counts(10).decided for one in (session, other))


def test_counts_leave_skipped_out_of_the_accept_rate(log: DecisionLog, session: ReviewSession) -> None:
    actions = ["accept", "accept", "accept", "keep", "pick", "skip"]
    log.append(session.id, [entry(k, f"img-{k}", a) for k, a in enumerate(actions, 1)], reviewer="Ada")
    counts = log.replay(session.id).counts(10)
    assert counts == Counts(total=10, accepted=3, kept=1, picked=1, skipped=1)
    assert (counts.decided, counts.left, counts.changed, counts.accept_rate) == (6, 4, 4, 0.6)
    assert Counts(10, 0, 0, 0, 2).accept_rate is None


def test_threads_and_a_second_log_lose_nothing(log: DecisionLog, session: ReviewSession, workspace: Workspace) -> None:
    other = DecisionLog(workspace.review_url)

    def work(target: DecisionLog, client: str) -> None:
        for seq in range(1, 16):
            target.append(session.id, [entry(seq, f"img-{client}-{seq}", client=client)], reviewer="Ada")

    threads = [threading.Thread(target=work, args=(t, c)) for t, c in ((log, "a"), (other, "b"), (log, "c"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(log.read(session.id)) == 45
    assert log.acked(session.id, "abc") == {"a": 15, "b": 15, "c": 15}


def test_sessions_are_found_again_by_name_and_dataset(log: DecisionLog, session: ReviewSession) -> None:
    again = open_session(log, name=" first ", reviewer="Bob", dataset="digits", fingerprint="f1")
    elsewhere = open_session(log, name="first", reviewer="Bob", dataset="cifar", fingerprint="f2")
    second = open_session(log, name="second", reviewer="Bob", dataset="digits", fingerprint="f1")
    assert again == session and elsewhere.id != session.id
    log.append(session.id, [entry(1)], reviewer="Ada")
    assert [s.name for s in list_sessions(log, fingerprint="f1")] == ["first", "second"]
    log.append(second.id, [entry(1)], reviewer="Bob")
    assert {s.id for s in list_sessions(log)} == {session.id, elsewhere.id, second.id}


@pytest.mark.parametrize(("field", "message"), [("name", "`name` must have 1 to 80"), ("reviewer", "`reviewer` must")])
def test_open_session_refuses_empty_words(log: DecisionLog, field: str, message: str) -> None:
    words = {"name": "x", "reviewer": "y"} | {field: "  "}
    with pytest.raises(ReviewError, match=message):
        open_session(log, **words, dataset="d", fingerprint="f")


def test_receive_acks_only_what_is_on_disk(log: DecisionLog, session: ReviewSession) -> None:
    first = receive(log, session.id, payload(session, raw(1), raw(2, "keep")), KNOWN, reviewer="Ada")
    assert first.acked == {"tab": 2} and first.written == 2 and not first.refused
    kept = log.replay(session.id).state("img-2")
    assert kept is not None and kept.label == 3 and kept.score == 2.5 and kept.score_provenance == "ab12"
    assert (kept.run, kept.method) == ("demo", "influence")
    again = receive(log, session.id, payload(session, raw(1), raw(2, "keep"), raw(3)), KNOWN, reviewer="Ada")
    assert again.acked == {"tab": 3} and again.written == 1
    assert receive(log, session.id, None, KNOWN, reviewer="Ada").acked == {}


def test_receive_takes_entries_of_an_earlier_tab(log: DecisionLog, session: ReviewSession) -> None:
    left_over = raw(7, client="old-tab", id="img-7")
    receipt = receive(log, session.id, payload(session, left_over, raw(1)), KNOWN, reviewer="Ada")
    assert receipt.acked == {"old-tab": 7, "tab": 1} and receipt.written == 2


def test_receive_leaves_another_sessions_entries_alone(log: DecisionLog, session: ReviewSession) -> None:
    receipt = receive(log, session.id, payload(session, raw(1)) | {"session": "else"}, KNOWN, reviewer="Ada")
    assert receipt.acked == {} and log.read(session.id) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "nobody"}, "`id` must be a sample"),
        ({"action": "destroy"}, "`action` must be one of"),
        ({"run": "gone/loss"}, "`run` must be a score run"),
        ({"label": 10}, r"`label` must be a class in \[0, 10\)"),
        ({"label": 4}, "`label` must be the suggested class"),
        ({"suggested": None}, "`label` must be the suggested class"),
        ({"action": "pick", "label": None}, "`label` must be"),
        ({"label": True}, "`label` must be a class"),
    ],
)
def test_receive_refuses_one_entry_and_keeps_the_others(
    log: DecisionLog, session: ReviewSession, changes: dict[str, object], message: str
) -> None:
    receipt = receive(log, session.id, payload(session, raw(1), raw(2, **changes), raw(3)), KNOWN, reviewer="Ada")
    assert receipt.acked == {"tab": 3} and receipt.written == 2
    with pytest.raises(ReviewError, match=message):
        raise ReviewError(receipt.refused["tab:2"])


@pytest.mark.parametrize("value", ["x", {"entries": 3}, [1]])
def test_receive_rejects_a_malformed_payload(log: DecisionLog, session: ReviewSession, value: object) -> None:
    with pytest.raises(ReviewError, match="no log of decisions"):
        receive(log, session.id, value, KNOWN, reviewer="Ada")


@pytest.mark.parametrize(
    "broken",
    [5, None, {"seq": 1}, {"client": "t", "seq": 0}, {"client": "t", "seq": "1"}, {"client": "\ud800", "seq": 1}],
)
def test_receive_passes_over_entries_without_address(log: DecisionLog, session: ReviewSession, broken: object) -> None:
    receipt = receive(log, session.id, payload(session) | {"entries": [broken, raw(1)]}, KNOWN, reviewer="Ada")
    assert receipt.acked == {"tab": 1} and receipt.written == 1
    assert [decision.sample for decision in log.read(session.id)] == ["img-1"]


def test_receive_refuses_a_score_that_no_float_holds(log: DecisionLog, session: ReviewSession) -> None:
    entries = payload(session, raw(1, score=10**400), raw(2, action=["accept"]), raw(3))
    receipt = receive(log, session.id, entries, KNOWN, reviewer="Ada")
    assert receipt.acked == {"tab": 3} and receipt.written == 1 and set(receipt.refused) == {"tab:1", "tab:2"}


def test_entry_checks_itself() -> None:
    with pytest.raises(ReviewError, match="`action` must be one of"):
        entry(1, action="guess")
    with pytest.raises(ReviewError, match="`seq` must be >= 1"):
        entry(0)
    with pytest.raises(ReviewError, match="`label` must be given"):
        entry(1, label=None)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "review.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError, match=r"review\.sqlite` could not be read .*Free disk space"):
        DecisionLog(f"sqlite:///{path}")


def test_opening_does_not_wait_for_a_writer(log: DecisionLog, session: ReviewSession, workspace: Workspace) -> None:
    log.append(session.id, [entry(1)], reviewer="Ada")
    writer = sqlite3.connect(workspace.root / "review.sqlite", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert len(DecisionLog(workspace.review_url).read(session.id)) == 1
    writer.execute("ROLLBACK")


def test_a_full_disk_writes_nothing_and_says_so(log: DecisionLog, session: ReviewSession) -> None:
    log.append(session.id, [entry(1)], reviewer="Ada")
    with log.engine.connect() as connection:
        pages = connection.scalar(text("PRAGMA page_count"))
    entries = [entry(seq, "img-" + "x" * 3000 + str(seq)) for seq in range(2, 60)]
    log.engine.dispose()

    from sqlalchemy import event

    event.listen(log.engine, "connect", lambda raw, _: raw.execute(f"PRAGMA max_page_count={pages}"))
    with pytest.raises(StorageError, match=r"could not be written .*earlier decisions are untouched"):
        log.append(session.id, entries, reviewer="Ada")
    assert [decision.seq for decision in log.read(session.id)] == [1]
