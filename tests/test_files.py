"""Files are whole or untouched, names are ours."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
from pathlib import Path

import pytest

from fvm_core.errors import DataError, StorageError
from fvm_core.files import atomic_write, file_sha256, move_file, read_json, slug, sweep, write_json


def test_atomic_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.txt"
    with atomic_write(path, "w", encoding="utf-8") as file:
        file.write("new")
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["a.txt"]


def test_atomic_write_keeps_the_old_file_when_the_writer_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="mid-way"), atomic_write(path, "w") as file:
        file.write("half")
        raise RuntimeError("mid-way")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_atomic_write_on_a_full_disk_names_the_remedy_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"No space left on device.*Free disk space"), atomic_write(path, "w") as f:
        f.write("new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_sweep_removes_what_a_killed_writer_left_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "model" / "snapshots"
    child = os.fork()
    if child == 0:
        with atomic_write(folder / "a.bin") as file:
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (folder / "notes.tmp").write_text("a person's own")
    write_json(folder / "b.json", 1)
    assert len(list(folder.glob(".a.bin.*.tmp"))) == 1 and not (folder / "a.bin").exists()
    sweep(tmp_path)
    assert sorted(os.listdir(folder)) == ["b.json", "notes.tmp"]


@pytest.mark.parametrize("apart", [False, True], ids=["one disk", "two disks"])
def test_move_file_replaces_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: bool) -> None:
    source, target, real = tmp_path / "whole", tmp_path / "scores" / "a.parquet", os.replace
    target.parent.mkdir()
    target.write_bytes(b"old")
    source.write_bytes(b"new" * 1000)

    def replace(old: Path | str, new: Path) -> None:
        if apart and Path(old).parent != Path(new).parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(old, new)

    monkeypatch.setattr(os, "replace", replace)
    move_file(source, target)
    assert target.read_bytes() == b"new" * 1000
    assert os.listdir(tmp_path) == ["scores"] and os.listdir(target.parent) == ["a.parquet"]


def test_move_file_says_why_the_disk_refused_and_keeps_both_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source := tmp_path / "whole").write_text("new")
    (target := tmp_path / "target").write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match=r"target` could not be written \(No space.*Free disk space"):
        move_file(source, target)
    assert (source.read_text(), target.read_text()) == ("new", "old")


def test_json_round_trip_and_the_error_for_a_torn_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": [1, 2], "a": None})
    assert read_json(path, what="spec") == {"a": None, "b": [1, 2]}
    path.write_text('{"a": ')
    with pytest.raises(DataError, match=r"spec `.*a.json` cannot be read"):
        read_json(path, what="spec")


def test_file_sha256_equals_hashlib_over_many_pieces(tmp_path: Path) -> None:
    data = os.urandom((1 << 20) + 17)
    (tmp_path / "a").write_bytes(data)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("name", "expected"), [("../../evil.pt", "evil-pt"), ("Ünder score_1", "nder-score_1"), ("a" * 90, "a" * 64)]
)
def test_slug_leaves_no_way_out_of_the_folder(name: str, expected: str) -> None:
    assert slug(name) == expected


def test_slug_refuses_a_name_without_letters() -> None:
    with pytest.raises(DataError, match="at least one letter or digit"):
        slug("../..")
