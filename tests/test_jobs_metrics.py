"""metrics.jsonl under kills, resumes and a full disk."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pandas as pd
import pytest

from fvm_core.errors import JobError, StorageError
from fvm_core.jobs.folder import prepare_folder, publish_folder
from fvm_core.jobs.metrics import MetricsTail, MetricsWriter, read_metrics, repair
from fvm_core.workspace import Workspace


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_frame_equals_a_plain_merge_of_random_rows(path: Path) -> None:
    chance = random.Random(0)
    truth: dict[int, dict[str, float]] = {}
    writer = MetricsWriter(path)
    tail = MetricsTail(path)
    for _ in range(5):
        for _ in range(200):
            step = chance.randrange(300)
            values = {key: chance.random() for key in chance.sample(["a", "b", "c"], chance.randint(0, 3))}
            writer.write(step, values)
            truth.setdefault(step, {}).update(values)
        expected = pd.DataFrame([{"step": step, **truth[step]} for step in sorted(truth)])
        for frame in (tail.frame(), MetricsTail(path).frame()):
            pd.testing.assert_frame_equal(frame, expected, check_like=True)


def test_frame_survives_the_callers_changes(path: Path) -> None:
    MetricsWriter(path).write(1, {"a": 2.0})
    tail = MetricsTail(path)
    frame = tail.frame()
    frame["a"] = 0.0
    frame.loc[0, "step"] = 9
    assert tail.frame().to_dict("list") == {"step": [1], "a": [2.0]}


def test_frame_is_empty_before_the_first_row(path: Path) -> None:
    assert MetricsTail(path).frame().columns.tolist() == ["step"]
    path.touch()
    assert len(MetricsTail(path).frame()) == 0


def test_frame_leaves_out_torn_and_foreign_lines(path: Path) -> None:
    path.write_bytes(
        b'{"step": 1, "a": 1}\n{"step": 2, "a\n\n[1]\n{"a": 3}\n{"step": true}\n{"step": 4, "a": "x"}\n'
        b'{"step": 5, "a": 5}\n{"step": 6, "a": 6}'
    )
    assert MetricsTail(path).frame().to_dict("list") == {"step": [1, 5], "a": [1.0, 5.0]}


def test_frame_does_not_join_two_torn_lines_into_one_row(path: Path) -> None:
    path.write_bytes(b'{"step": 1\n"a": 2}\n{"step": 3, "a": 4}\n')
    assert MetricsTail(path).frame().to_dict("list") == {"step": [3], "a": [4.0]}


def test_frame_waits_for_the_rest_of_a_line(path: Path) -> None:
    tail = MetricsTail(path)
    path.write_bytes(b'{"step": 1, "a": 1}\n{"step": 2,')
    assert tail.frame()["step"].tolist() == [1]
    with path.open("ab") as file:
        file.write(b' "a": 2}\n')
    assert tail.frame()["step"].tolist() == [1, 2]


def test_frame_starts_over_when_the_file_was_replaced(path: Path) -> None:
    tail = MetricsTail(path)
    path.write_bytes(b'{"step": 1, "a": 1}\n{"step": 2, "a": 1}\n')
    assert len(tail.frame()) == 2
    path.write_bytes(b'{"step": 7, "b": 1}\n')
    assert tail.frame().to_dict("list") == {"step": [7], "b": [1.0]}
    path.unlink()
    assert tail.frame().empty


def test_frame_reads_only_what_is_new(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("".join(f'{{"step": {step}, "a": {step}}}\n' for step in range(100_000)))
    tail = MetricsTail(path)
    assert len(tail.frame()) == 100_000
    parsed: list[int] = []
    loads = json.loads

    def counting(text: bytes) -> object:
        parsed.append(len(text))
        return loads(text)

    monkeypatch.setattr(json, "loads", counting)
    with path.open("a") as file:
        file.write('{"step": 100000, "a": 1}\n')
    assert tail.frame()["a"].iloc[-1] == 1.0
    assert sum(parsed) < 100


def test_write_keeps_nan_and_infinity_as_json(path: Path) -> None:
    writer = MetricsWriter(path)
    writer.write(1, {"loss": 1.0})
    writer.write(1, {"loss": math.nan, "gap": math.inf})
    assert [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()][1]["loss"] is None
    frame = MetricsTail(path).frame()
    assert math.isnan(frame["loss"][0]) and math.isnan(frame["gap"][0])


@pytest.mark.parametrize("cut", range(0, 42))
def test_repair_keeps_whole_rows_only_wherever_the_kill_came(path: Path, cut: int) -> None:
    rows = b'{"step": 1, "a": 1.5}\n{"step": 2, "a": 2}\n'
    path.write_bytes(rows[:cut])
    writer = MetricsWriter(path)
    writer.write(3, {"a": 3.0})
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    whole = (cut >= 21) + (cut >= 41)
    assert [line["step"] for line in lines] == [*[1, 2][:whole], 3]


def test_repair_of_a_missing_or_whole_file_changes_nothing(path: Path) -> None:
    repair(path)
    assert not path.exists()
    path.write_bytes(b'{"step": 1}\n')
    repair(path)
    assert path.read_bytes() == b'{"step": 1}\n'


def test_write_on_a_full_disk(path: Path) -> None:
    path.symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"metrics\.jsonl` could not be written \(No space left.*resume the job"):
        MetricsWriter(path).write(1, {"a": 1.0})


def test_open_in_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file or directory"):
        MetricsWriter(tmp_path / "gone" / "metrics.jsonl")


def test_read_metrics_of_a_job_and_of_its_part(workspace: Workspace) -> None:
    folder = publish_folder(prepare_folder(workspace, "demo", {}, title="Demo"))
    assert read_metrics(workspace, folder.id).empty
    MetricsWriter(folder.metrics).write(1, {"a": 1.0})
    part = folder.root / "parts" / "tune-fvm" / "metrics.jsonl"
    part.parent.mkdir(parents=True)
    MetricsWriter(part).write(5, {"b": 1.0})
    assert read_metrics(workspace, folder.id)["step"].tolist() == [1]
    assert read_metrics(workspace, folder.id, part="tune-fvm")["step"].tolist() == [5]
    with pytest.raises(JobError, match="must stay inside the job's folder"):
        read_metrics(workspace, folder.id, part="../../../other")
