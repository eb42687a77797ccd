import json
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_samples import png, write_parquet

from fvm_core.data import identity, parquet, tables
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.open import open_dataset
from fvm_core.data.parquet import ParquetSource
from fvm_core.errors import DataError


def test_hugging_face_structs_and_class_labels(tmp_path: Path) -> None:
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    images = [{"bytes": png(row), "path": f"{row}.png"} for row in range(3)]
    dataset = open_dataset(write_parquet(tmp_path / "hf.parquet", images, [1, 0, 1], metadata=metadata))
    assert dataset.class_names == ("cat", "dog")
    assert [dataset.read(row) for row in range(3)] == [png(row) for row in range(3)]


def test_struct_that_names_a_file_outside_has_no_bytes(tmp_path: Path) -> None:
    images = [{"bytes": png(), "path": None}, {"bytes": None, "path": "/etc/passwd"}]
    dataset = open_dataset(write_parquet(tmp_path / "hf.parquet", images, [1, 0]))
    with pytest.raises(DataError, match="no image bytes in row 1"):
        dataset.read(1)


def test_columns_may_be_left_out_when_the_file_leaves_no_choice(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [png(), png()], ["x", "y"], metadata={"class_names": "y,x"})
    dataset = open_dataset(DatasetSpec("parquet", str(tmp_path / "a.parquet")))
    assert dataset.labels.tolist() == [1, 0]
    assert dataset.ids.tolist() == ["a-00000", "a-00001"]


def test_clean_labels_ids_and_class_names_by_option(tmp_path: Path) -> None:
    more = {"truth": pa.array([0, None, 1]), "key": pa.array(["p", "q", "r"])}
    spec = write_parquet(tmp_path / "a.parquet", [png()] * 3, [0, 0, 0], **more)
    options = {"id": "key", "class_names": "zero,one"}
    dataset = open_dataset(DatasetSpec("parquet", spec.path, "image", "label", "truth", options=options))
    assert dataset.ids.tolist() == ["p", "q", "r"]
    assert dataset.class_names == ("zero", "one")
    assert dataset.mislabeled().tolist() == [False, False, True]


def test_shards_of_a_folder_follow_each_other(tmp_path: Path) -> None:
    write_parquet(tmp_path / "b.parquet", [png(2), png(3), png(4)], [0, 1, 0], row_group_size=2)
    write_parquet(tmp_path / "a.parquet", [png(0), png(1)], [1, 1])
    dataset = open_dataset(DatasetSpec("parquet", str(tmp_path)))
    assert dataset.ids.tolist() == ["a-00000", "a-00001", "b-00000", "b-00001", "b-00002"]
    assert [dataset.read(row) for row in (4, 0, 3, 1, 2)] == [png(row) for row in (4, 0, 3, 1, 2)]


def test_only_the_row_group_asked_for_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [png(row) for row in range(100)]
    dataset = open_dataset(write_parquet(tmp_path / "a.parquet", images, [0, 1] * 50, row_group_size=10))
    loaded: list[int] = []
    load = parquet.ParquetSource._load
    monkeypatch.setattr(
        parquet.ParquetSource, "_load", lambda self, number: loaded.append(number) or load(self, number)
    )
    monkeypatch.setattr(parquet, "CACHE_BYTES", 1)
    for row in (37, 31, 39, 99, 37):
        assert dataset.read(row) == images[row]
    assert loaded == [3, 9, 3]


def test_threads_and_pickled_copies_read_the_same(tmp_path: Path) -> None:
    images = [png(row) for row in range(60)]
    dataset = open_dataset(write_parquet(tmp_path / "a.parquet", images, [0, 1] * 30, row_group_size=7))
    wrong: list[int] = []

    def work(seed: int) -> None:
        rows = np.random.default_rng(seed).permutation(60)
        wrong.extend(int(row) for row in rows if dataset.read(row) != images[row])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert pickle.loads(pickle.dumps(dataset.source)).read(59) == images[59]  # noqa: S301


def test_a_value_repeated_a_million_times_takes_its_memory_once(tmp_path: Path) -> None:
    image = pa.DictionaryArray.from_arrays(pa.array([0] * 300), pa.array([bytes(1_000_000)]))
    table = pa.table({"image": image, "label": [0, 1] * 150})
    path = tmp_path / "bomb.parquet"
    pq.write_table(table.replace_schema_metadata(None), path, store_schema=False)
    assert path.stat().st_size < 1_000_000
    dataset = open_dataset(DatasetSpec("parquet", str(path)))
    before = pa.total_allocated_bytes()
    assert len(dataset.read(299)) == 1_000_000
    assert pa.total_allocated_bytes() - before < 20_000_000


def test_fingerprint_follows_content_not_place(tmp_path: Path) -> None:
    spec = write_parquet(tmp_path / "a.parquet", [png(1), png(2)], [0, 1])
    copy = tmp_path / "other" / "a.parquet"
    copy.parent.mkdir()
    copy.write_bytes(Path(spec.path).read_bytes())
    first = open_dataset(spec).fingerprint
    assert open_dataset(DatasetSpec("parquet", str(copy))).fingerprint == first
    write_parquet(copy, [png(1), png(3)], [0, 1])
    assert open_dataset(DatasetSpec("parquet", str(copy))).fingerprint != first


def test_what_is_wrong_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    spec = write_parquet(path, [png(), png()], [0, 1], other=pa.array([1, 1]), twice=pa.array(["k", "k"]))
    for wrong, match in (
        (DatasetSpec("parquet", str(tmp_path / "none.parquet")), "must be a Parquet file or a folder"),
        (DatasetSpec("parquet", ""), "`path` must name the file"),
        (DatasetSpec("parquet", str(path), "picture", "label"), r"`image` must be one of the columns \['image'\]"),
        (DatasetSpec("parquet", str(path), "image", "image"), "`label` must be one of the columns"),
        (DatasetSpec("parquet", str(path), "image", "label", "truth"), "`clean_label` must be one of"),
        (DatasetSpec("parquet", str(path), options={"id": "nothing"}), "no column `nothing`"),
        (DatasetSpec("parquet", str(path), options={"id": "twice"}), r"ids must be unique, got 'k' in rows 0 and 1"),
        (DatasetSpec("parquet", str(path), options={"class_names": "one"}), r"0 <= label < 1 .*got 1 in row 1"),
    ):
        with pytest.raises(DataError, match=match):
            open_dataset(wrong)
    dataset = open_dataset(spec)
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 10)
    with pytest.raises(DataError, match="smaller row_group_size"):
        dataset.read(0)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        open_dataset(spec)
    pq.write_table(pa.table({"label": [1, 2]}), path)
    with pytest.raises(DataError, match="the file offers none"):
        open_dataset(DatasetSpec("parquet", str(path)))


def test_damaged_row_group_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(40_000)
    path = tmp_path / "a.parquet"
    table = pa.table({"image": [noise[:20_000], noise[20_000:]], "label": [0, 1]})
    pq.write_table(table, path, use_dictionary=False, compression="zstd", write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[4:2_000] = bytes(1_996)
    path.write_bytes(data)
    dataset = open_dataset(DatasetSpec("parquet", str(path)))
    with pytest.raises(DataError, match=r"row group 0 of .* cannot be read"):
        dataset.read(0)


@pytest.mark.data
@pytest.mark.parametrize(
    ("label", "share"), [("aggre_label", 0.0901), ("random_label1", 0.17234), ("worse_label", 0.40208)]
)
def test_cifar10n_noise_rates_are_the_published_ones(cifar10n: Path, label: str, share: float) -> None:
    spec = DatasetSpec("parquet", str(cifar10n / "train.parquet"), "image", label, "clean_label")
    dataset = open_dataset(spec)
    assert len(dataset) == 50_000
    assert dataset.class_names[:3] == ("airplane", "automobile", "bird")
    assert dataset.mislabeled().mean() == pytest.approx(share)


def test_a_row_bomb_is_refused_by_its_footer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.parquet"
    rows = 200_000
    images = pa.array([b"x"], pa.binary()).take(pa.array(np.zeros(rows, np.int32)))
    pq.write_table(pa.table({"image": images, "label": np.arange(rows) % 2}), path)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(tables, "MAX_ROWS", 100_000)
    for kind, image in (("parquet", "image"), ("manifest", "label")):
        with pytest.raises(DataError, match=r"must have at most 100,000 rows, but says it has 200,000"):
            open_dataset(DatasetSpec(kind, str(path), image, "label"))
    monkeypatch.setattr(tables, "MAX_ROWS", rows)
    monkeypatch.setattr(tables, "MAX_COLUMNS_BYTES", 100)
    with pytest.raises(DataError, match=r"columns \['label'\] of .* must unpack to at most"):
        open_dataset(DatasetSpec("parquet", str(path), "image", "label"))


def test_the_stamp_of_a_large_file_follows_its_time_and_the_identity_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "WHOLE_BYTES", 10)
    monkeypatch.setattr(identity, "PIECE_BYTES", 10)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [b"x", b"y"], "label": [0, 1]}), path)
    found = []
    for time in (1, 2):
        os.utime(path, (time, time))
        source = open_dataset(DatasetSpec("parquet", str(path), "image", "label")).source
        assert isinstance(source, ParquetSource)
        found.append((source.identity(), source.stamp()))
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]
