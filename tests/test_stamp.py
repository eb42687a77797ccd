import os
from dataclasses import replace
from pathlib import Path

import pytest

from fvm_core.data import stamp
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.open import spec_stamp


def touched(path: Path, time: int) -> None:
    os.utime(path, (time, time))


@pytest.mark.parametrize("place", ["path", "corrections", "include", "exclude", "label_file", "root", "before"])
def test_every_named_file_is_watched(tmp_path: Path, place: str) -> None:
    file = tmp_path / "file"
    file.write_text("a")
    spec = DatasetSpec("manifest", str(tmp_path / "other"))
    if place == "before":
        spec = replace(spec, options={"corrections_before": [str(file)]})
    elif place in ("label_file", "root"):
        spec = replace(spec, options={place: str(file)})
    else:
        spec = replace(spec, **{place: str(file)})
    first = spec_stamp(spec)
    assert spec_stamp(spec) == first
    touched(file, 1)
    second = spec_stamp(spec)
    file.unlink()
    assert len({first, second, spec_stamp(spec)}) == 3


def test_a_folder_is_known_by_what_lies_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / "cat" / "deep"
    deep.mkdir(parents=True)
    (deep / "a.png").write_bytes(b"a")
    spec = DatasetSpec("folder", str(tmp_path))
    stamps = [spec_stamp(spec)]
    touched(deep / "a.png", 2**32)
    stamps.append(spec_stamp(spec))
    (deep / "b.png").write_bytes(b"b")
    touched(deep / "b.png", 1)
    stamps.append(spec_stamp(spec))
    (deep / "b.png").unlink()
    stamps.append(spec_stamp(spec))
    assert len(set(stamps[:3])) == 3
    assert stamps[3] != stamps[2]
    assert stamps[0] != spec_stamp(replace(spec, label="x"))
    monkeypatch.setattr(stamp, "MAX_ENTRIES", 1)
    assert spec_stamp(spec) == spec_stamp(spec)
