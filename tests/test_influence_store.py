"""Score files, part files and settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fvm_core.errors import DataError, SettingsError
from fvm_core.influence import parts
from fvm_core.influence.settings import ScoreSettings
from fvm_core.influence.store import SCHEMA, display_name, list_runs, read_provenance, read_scores, with_provenance
from fvm_core.workspace import Workspace


def table(start: int, rows: int) -> pa.Table:
    index = np.arange(start, start + rows)
    return pa.table(
        {
            "id": [f"s{i}" for i in index], "row": index, "label": index % 3, "clean_label": index % 2,
            "score": index / 7, "suspicion": -index / 7, "suggested": index % 3,
            "label_scores": [[float(i), 1.0, 2.0] for i in index], "label_exact": [[True, False, True]] * rows,
        },
        schema=SCHEMA,
    )  # fmt: skip


def write(path: Path, provenance: dict[str, object], rows: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(0, rows).cast(with_provenance(SCHEMA, provenance)), path)


def test_runs_are_listed_and_strangers_left_out(workspace: Workspace) -> None:
    write(workspace.scores / "b" / "loss.parquet", {"method": "loss", "model": {"role": "base"}})
    write(workspace.scores / "a" / "influence.parquet", {"method": "influence", "model": {"role": "fvm"}})
    write(workspace.scores / "a" / "snapshots.parquet", {"method": "snapshots", "model": {"role": "fvm"}})
    write(workspace.scores / "a" / "mine.parquet", {})
    (workspace.scores / "a" / "margin.parquet").write_bytes(b"not parquet")
    pq.write_table(table(0, 1), workspace.scores / "a" / "el2n.parquet")
    found = list_runs(workspace)
    assert [(item.run, item.method) for item in found] == [("a", "influence"), ("a", "snapshots"), ("b", "loss")]
    names = [display_name(item.provenance) for item in found]
    assert names == [
        "FVM",
        "FVM · tuning snapshots",
        "Base · Cross-entropy loss",
    ]


@pytest.mark.parametrize(
    ("role", "method", "expected"),
    [("vm", "influence", "VM"), ("vm", "margin", "VM · Margin"), ("base", "el2n", "Base · EL2N"),
     ("imported", "loss", "Imported · Cross-entropy loss"), ("fvm", "standard", "FVM · Standard influence (LiSSA)")],
)  # fmt: skip
def test_display_names(role: str, method: str, expected: str) -> None:
    assert display_name({"model": {"role": role, "name": "x"}, "method": method}) == expected


@pytest.mark.parametrize(
    ("solver", "method", "expected"),
    [("sam", "influence", "FVM"), ("asam", "influence", "FVM (ASAM)"), (7, "influence", "FVM"),
     ("fsam", "loss", "FVM (F-SAM) · Cross-entropy loss"), ("lpf", "snapshots", "FVM (LPF) · tuning snapshots"),
     ("new", "influence", "FVM")],
)  # fmt: skip
def test_display_names_tell_another_solver_than_sam(solver: object, method: str, expected: str) -> None:
    assert display_name({"model": {"role": "fvm", "solver": solver}, "method": method}) == expected


def test_columns_are_read_alone_and_missing_ones_named(tmp_path: Path) -> None:
    write(tmp_path / "loss.parquet", {"method": "loss"})
    found = read_scores(tmp_path / "loss.parquet", columns=["id", "score"])
    assert list(found.frame.columns) == ["id", "score"] and found.provenance == {"method": "loss"}
    with pytest.raises(DataError, match=r"lacks the columns \['weight'\]"):
        read_scores(tmp_path / "loss.parquet", columns=["id", "weight"])


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 cut off")
    pq.write_table(table(0, 1), tmp_path / "bare.parquet")
    pq.write_table(table(0, 1).replace_schema_metadata({b"fvm_provenance": b"[1]"}), tmp_path / "list.parquet")
    for name in ("x", "bare", "list", "missing"):
        with pytest.raises(DataError, match=rf"score file `.*{name}.parquet`.*Score the dataset again"):
            read_provenance(tmp_path / f"{name}.parquet")


def test_parts_merge_in_order_with_bounded_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "GROUP_ROWS", 10)
    made = []
    for start in range(0, 50, 7):
        path = parts.part_path(tmp_path, "loss", start)
        parts.write_part(path, table(start, 7), plan="p", seconds=1.5, notes=["a note"])
        part = parts.read_part(path, plan="p")
        assert part is not None and (part.rows, part.seconds, part.notes) == (7, 1.5, ("a note",))
        made.append(part)
    seen: list[int] = []

    def change(group: pa.Table) -> pa.Table:
        seen.append(group.num_rows)
        return group

    target = tmp_path / "out" / "loss.parquet"
    parts.merge(made, target, with_provenance(SCHEMA, {"method": "loss"}), change=change)
    assert seen == [14, 14, 14, 14]
    assert pq.read_table(target).replace_schema_metadata(None).equals(table(0, 56))
    assert read_provenance(target) == {"method": "loss"}


def test_parts_of_another_plan_or_cut_off_are_not_used(tmp_path: Path) -> None:
    path = parts.part_path(tmp_path, "loss", 0)
    assert parts.read_part(path, plan="p") is None
    parts.write_part(path, table(0, 5), plan="p", seconds=1)
    assert parts.read_part(path, plan="q") is None
    path.write_bytes(path.read_bytes()[:-20])
    assert parts.read_part(path, plan="p") is None
    pq.write_table(table(0, 1), path)
    assert parts.read_part(path, plan="p") is None


def test_settings_survive_json() -> None:
    settings = ScoreSettings(relabel="all", limit=10, lissa_scale=3.0)
    assert ScoreSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [("damping", -1.0, ">= 0"), ("batch_size", 0, ">= 1"), ("relabel", "some", "one of"), ("limit", 0, ">= 1"),
     ("lissa_depth", 0, ">= 1"), ("lissa_scale", 0.0, "> 0"), ("lissa_damping", 1.0, r"in \[0, 1\)"),
     ("lissa_repeats", 0, ">= 1")],
)  # fmt: skip
def test_settings_out_of_range_are_named(key: str, value: object, rule: str) -> None:
    with pytest.raises(SettingsError, match=f"`{key}` must be {rule}.*got {value!r}"):
        ScoreSettings.from_json({key: value})


def test_unknown_settings_are_named() -> None:
    with pytest.raises(SettingsError, match=r"unknown settings \['lissa'\]"):
        ScoreSettings.from_json({"lissa": 1})
