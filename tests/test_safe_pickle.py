import io
import os
import pickle
import random
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fvm_core.data import label_file, safe_pickle
from fvm_core.data.label_file import read_label_file
from fvm_core.data.safe_pickle import read_pickle
from fvm_core.errors import DataError


class Evil:
    """Its pickle makes a file when it is loaded the usual way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">i4", "f4", "?"])
def test_arrays_come_back_as_pickle_has_them(dtype: str, protocol: int) -> None:
    array = np.arange(12).reshape(3, 4).astype(dtype)
    value = {"a": array, "b": [1, -5, 70_000, "word", None, True], "f": np.asfortranarray(array), "n": 2.5}
    data = pickle.dumps(value, protocol)
    found = read_pickle(data, what="file")
    assert found["b"] == value["b"]
    assert found["n"] == 2.5
    for key in ("a", "f"):
        np.testing.assert_array_equal(found[key], value[key])
        assert found[key].dtype == array.dtype


def test_every_callable_is_refused_and_none_runs(tmp_path: Path) -> None:
    made = tmp_path / "made"
    for protocol in range(6):
        with pytest.raises(DataError, match=r"names `\w+\.mkdir`, which pickle would run. Nothing was run"):
            read_pickle(pickle.dumps({"labels": Evil(made)}, protocol), what="file")
    for code in (
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"\x80\x02cnumpy.core.multiarray\nscalar\n.",
    ):
        with pytest.raises(DataError, match="must name nothing but NumPy arrays"):
            read_pickle(code, what="file")
    assert not made.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cnumpy\nndarray\n(I1000000000\ntR.",  # calls the class itself: would take the memory at once
        b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.",
        b"(lI1\nR.",
        b"cnumpy\ndtype\n(S'O'\ntRcnumpy\nndarray\nb.",
    ],
)
def test_allowed_names_cannot_be_called_in_other_ways(code: bytes) -> None:
    with pytest.raises(DataError):
        read_pickle(code, what="file")


def test_object_and_structured_arrays_are_refused() -> None:
    for array in (np.array([{}, None], object), np.zeros(2, [("a", "i4")]), np.array(["a", "b"])):
        with pytest.raises(DataError, match=r"numeric arrays|plain numeric|whole pickle"):
            read_pickle(pickle.dumps({"a": array}, 2), what="file")


def test_shape_must_match_the_bytes() -> None:
    data = pickle.dumps(np.zeros(300, np.uint8), 2)
    assert data.count(b"M\x2c\x01") == 1
    with pytest.raises(DataError, match=r"must hold whole arrays, got 300 bytes"):
        read_pickle(data.replace(b"M\x2c\x01", b"J\xff\xff\xff\x7f"), what="file")


def test_every_truncation_is_a_clear_error() -> None:
    data = pickle.dumps({"labels": np.arange(5), "names": ["a"]}, 2)
    for length in range(len(data)):
        with pytest.raises(DataError, match=r"`file` must"):
            read_pickle(data[:length], what="file")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pickletools")
def test_random_damage_never_raises_anything_else() -> None:
    data = pickle.dumps({"labels": np.arange(5), "names": ["a", ("b", 1)]}, 2)
    chance = random.Random(0)
    for _ in range(800):
        broken = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        try:
            read_pickle(bytes(broken), what="file")
        except DataError:
            continue


def test_shared_and_deep_containers_take_no_exponential_work(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = [0] * 1_000
    found = read_pickle(pickle.dumps([wide] * 1_000, 2), what="file")
    assert found[0] is found[999]
    doubled: object = ()
    for _ in range(60):
        doubled = (doubled, doubled)
    with pytest.raises(DataError, match="at most two deep"):
        read_pickle(pickle.dumps(doubled, 2), what="file")
    with pytest.raises(DataError, match="whole pickle"):
        # {doubled tuple: 1}: hashing such a key takes 2^60 steps
        read_pickle(b"\x80\x02}" + pickle.dumps(doubled, 2)[2:-1] + b"K\x01s.", what="file")
    monkeypatch.setattr(safe_pickle, "MAX_INSTRUCTIONS", 100)
    with pytest.raises(DataError, match="at most 100 pickle instructions"):
        read_pickle(b"\x80\x02" + b"}" * 200 + b".", what="file")


def test_a_word_copied_many_times_is_refused_before_the_memory_is_taken() -> None:
    word = b"X" + (4_000).to_bytes(4, "little") + b"a" * 4_000
    call = b"c_codecs\nencode\nq\x00" + word + b"q\x01" + b"X\x06\x00\x00\x00latin1q\x02" + b"]"
    encoded = b"\x80\x02" + call + b"h\x00h\x01h\x02\x86Ra" * 3_000 + b"."
    assert len(encoded) < 50_000
    dtype = b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85Rq\x03"
    make = b"cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nNN\x87q\x04"
    state = b"(K\x01M\xa0\x0f\x85h\x03Nh\x01tq\x05"
    arrays = b"\x80\x02" + word + b"q\x01" + dtype + make + state + b"]" + b"h\x00h\x04Rh\x05ba" * 3_000 + b"."
    for code in (encoded, arrays):
        tracemalloc.start()
        with pytest.raises(DataError, match=r"`file` must unpack to at most [\d,]+ bytes, but makes more copies"):
            read_pickle(code, what="file")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * 2**20
    assert len(read_pickle(encoded.replace(b"h\x00h\x01h\x02\x86Ra" * 2_990, b""), what="file")) == 10


def archive(data: bytes, *, name: str = "x/data.pkl", compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        file.writestr(name, data)
    return out.getvalue()


def test_label_file_reads_zip_plain_and_legacy_torch_layouts(tmp_path: Path) -> None:
    content = pickle.dumps({"worse_label": np.arange(4), "coarse": [1, 2, 3, 4], "names": ["a"]}, 2)
    legacy = b"".join(pickle.dumps(part, 2) for part in (safe_pickle.TORCH_MAGIC, 1001, {"little_endian": True}))
    for data in (archive(content), content, legacy + content + pickle.dumps([], 2)):
        (tmp_path / "labels.pt").write_bytes(data)
        found = read_label_file(tmp_path / "labels.pt")
        assert sorted(found) == ["coarse", "worse_label"]
        assert found["worse_label"].tolist() == [0, 1, 2, 3]


def test_label_file_names_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_file, "MAX_BYTES", 2**20)
    path = tmp_path / "labels.pt"
    with pytest.raises(DataError, match=r"cannot be read .*UCSC-REAL/cifar-10-100n"):
        read_label_file(path)
    bomb = archive(bytes(2 * 2**20), compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    whole = archive(pickle.dumps({"a": np.arange(400)}, 2))
    for data, match in (
        (bomb, "zip bomb"),
        (whole[: len(whole) // 2], "damaged or cut off|damaged"),
        (whole.replace(b"\x07\0\0\0", b"\x08\0\0\0", 1), "damaged"),
        (archive(b"", name="other.txt"), "one data.pkl, got 0"),
        (pickle.dumps([1], 2), "table of label columns"),
        (pickle.dumps({"a": ["x"]}, 2), "columns of whole numbers"),
        (archive(pickle.dumps({"a": Evil(tmp_path / "made")}, 2)), "Nothing was run"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=match):
            read_label_file(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.data
def test_published_label_files_have_the_published_noise_rates(cifar10n: Path) -> None:
    ten = read_label_file(cifar10n / "CIFAR-10_human.pt")
    assert (ten["worse_label"] != ten["clean_label"]).mean() == pytest.approx(0.40208)
    hundred = read_label_file(cifar10n.parent / "cifar100n" / "CIFAR-100_human.pt")
    assert (hundred["noisy_label"] != hundred["clean_label"]).mean() == pytest.approx(0.402, abs=1e-3)
    assert hundred["noisy_label"].max() == 99
