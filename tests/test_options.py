import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fvm_core.data import options
from fvm_core.data.dataset import KINDS, DatasetSpec
from fvm_core.data.open import open_dataset
from fvm_core.errors import DataError


def test_every_option_that_a_reader_takes_is_known_and_has_a_rule() -> None:
    folder = Path(options.__file__).parent
    text = "".join(path.read_text() for path in folder.glob("*.py") if path.stem != "stamp")
    taken = set(re.findall(r'options\.get\("(\w+)"', text))
    assert taken <= {key for keys in options.OPTIONS.values() for key in keys}
    assert set(options.RULES) == {*options.COMMON, *(key for keys in options.OPTIONS.values() for key in keys)}
    assert set(options.OPTIONS) == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "chosen", "match"),
    [
        ("npz", {"max_byte": 5}, r"options of a npz dataset must be among .*'max_bytes'.*got 'max_byte'"),
        ("folder", {"root": "/"}, r"options of a folder dataset must be among \['class_names'"),
        ("npz", {"max_bytes": "abc"}, r"`max_bytes` must be a whole number > 0, got 'abc'"),
        ("npz", {"max_bytes": True}, r"`max_bytes` must be a whole number"),
        ("npz", {"class_names": 5}, r"`class_names` must be a list of names, .* got 5"),
        ("parquet", {"class_names": {"a": 1}}, r"`class_names` must be a list of names"),
        ("parquet", {"id": 3}, r"`id` must be the name of a column, got 3"),
        ("manifest", {"root": ["/"]}, r"`root` must be the path of a folder"),
        ("cifar10n", {"download": "yes"}, r"`download` must be true or false, got 'yes'"),
        ("digits", {"corrections_before": "a.csv"}, r"`corrections_before` must be a list of paths"),
    ],
)
def test_unknown_and_wrong_options_are_named(kind: str, chosen: dict[str, Any], match: str) -> None:
    with pytest.raises(DataError, match=match):
        open_dataset(DatasetSpec(kind, "/nowhere", options=chosen))


def test_right_options_are_taken(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 4, 4), np.uint8), labels=[0, 1])
    chosen = {"class_names": ["a", "b"], "max_bytes": 1000, "layout": ""}
    assert open_dataset(DatasetSpec("npz", str(tmp_path / "a.npz"), options=chosen)).class_names == ("a", "b")
