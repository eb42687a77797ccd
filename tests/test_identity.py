import os
import subprocess
import sys
from pathlib import Path

import pytest

from fvm_core.data import identity
from fvm_core.data.identity import file_identity, file_stamp
from fvm_core.errors import DataError


def test_small_files_are_known_by_their_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"same")
    two.write_bytes(b"same")
    os.utime(two, (1, 1))
    assert file_identity(one) == file_identity(two)
    two.write_bytes(b"more")
    assert file_identity(one) != file_identity(two)


def test_large_files_are_known_by_pieces_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "WHOLE_BYTES", 100)
    monkeypatch.setattr(identity, "PIECE_BYTES", 10)
    path = tmp_path / "large"
    path.write_bytes(bytes(10_000))
    os.utime(path, (1, 1))
    first, stamp = file_identity(path), file_stamp(path)
    assert first.startswith("pieces:")
    copy = tmp_path / "copy"
    copy.write_bytes(bytes(10_000))
    os.utime(copy, (2, 2))
    assert file_identity(copy) == first
    assert file_stamp(copy) != stamp
    copy.write_bytes(bytes(10_001))
    assert file_identity(copy) != first
    copy.write_bytes(bytes(9_999) + b"1")
    assert file_identity(copy) != first
    whole = tmp_path / "whole"
    whole.write_bytes(b"1")
    assert file_stamp(whole) == file_identity(whole)


def test_missing_files_are_named() -> None:
    with pytest.raises(DataError, match=r"`/nowhere` cannot be read \(No such file"):
        file_identity("/nowhere")


def test_data_imports_no_torch_and_no_streamlit() -> None:
    modules = sorted(path.stem for path in Path(identity.__file__).parent.glob("*.py") if path.stem != "__init__")
    code = "".join(f"import fvm_core.data.{name}\n" for name in modules)
    code += "import sys; assert not {'torch', 'torchvision', 'streamlit', 'sklearn'} & set(sys.modules)"
    assert len(modules) > 15
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(identity.__file__).parents[2])
