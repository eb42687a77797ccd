"""The HTML report: right figures, everything inside, nothing of the data's that could run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hostile import NAMES, dataset
from score_files import write_score_file
from sklearn.metrics import roc_auc_score

from fvm_core.cli.main import main
from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.errors import DataError
from fvm_core.jobs.kinds import KINDS, LIGHT
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.report.document import Report, embedded
from fvm_core.report.job import run
from fvm_core.report.words import escaped
from fvm_core.review.decision import Entry
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import open_session
from fvm_core.visible import visible
from fvm_core.workspace import Workspace


class Reader(HTMLParser):
    """Collects what a browser would see: tags with their attributes, texts, and the scripts' bodies."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        (self.scripts if self.tags[-1][0] == "script" and self.lasttag == "script" else self.texts).append(data)


def scored(workspace: Workspace, spec: DatasetSpec, *, method: str = "posterior") -> LabeledImages:
    add_dataset(workspace, "data", spec)
    found = open_named(workspace, "data")
    scores = np.random.default_rng(0).exponential(3, (len(found), found.num_classes))
    if found.clean_labels is not None:
        scores[np.arange(len(found)), found.clean_labels] = 0.01
    write_score_file(workspace.scores / "fvm" / f"{method}.parquet", found, scores, method=method, name="data")
    return found


def reviewed(workspace: Workspace, found: LabeledImages, name: str = "first") -> str:
    log = DecisionLog(workspace.review_url)
    session = open_session(log, name=name, reviewer="Ada", dataset="data", fingerprint=found.fingerprint)
    entries = [
        Entry(client="t", seq=k + 1, sample=str(found.ids[k]), action="pick", label=int(found.labels[k] + 1) % 8,
              given=int(found.labels[k]))
        for k in range(3)
    ]  # fmt: skip
    log.append(session.id, entries, reviewer="Ada")
    log.close()
    return session.id


def made(workspace: Workspace, **args: Any) -> tuple[str, dict[str, Any]]:
    said = run(MemoryContext(), {"scores": "fvm/posterior", "session": "", "name": "r", **args}, workspace)
    text = Path(said["path"]).read_text(encoding="utf-8")
    match = re.search(r'<script type="application/json" id=figures>(.*?)</script>', text)
    assert match
    return text, json.loads(match[1])


def test_report_of_the_digits_has_the_right_figures(workspace: Workspace) -> None:
    digits = scored(workspace, DatasetSpec("digits", label="noisy"))
    text, figures = made(workspace, session=reviewed(workspace, digits), flagged=12)
    assert text.count('<img alt="" src="data:image/png;base64,') == 12 and "Review first by Ada" in text
    assert ">3</b>decided" in text and ">1,297</b>images scored" in text and "http-equiv" in text
    frame = pd.read_parquet(workspace.scores / "fvm" / "posterior.parquet")
    auc = roc_auc_score(frame["clean_label"] != frame["label"], frame["suspicion"])
    assert f"<td>{100 * auc:.2f}</td>" in text
    bars = next(one for one in figures.values() if one["data"][0]["type"] == "bar")
    assert sum(sum(part["y"]) for part in bars["data"]) == 1297
    matrix = np.array(next(one for one in figures.values() if one["data"][0]["type"] == "heatmap")["data"][0]["z"])
    np.testing.assert_allclose(matrix.sum(1), 1)
    order = frame.sort_values("suspicion", ascending=False, kind="stable")["id"].tolist()
    places = [text.index(f"<br>{one}</span>") for one in order[:12]]
    assert places == sorted(places)
    assert KINDS["report"] == "fvm_core.report.job:run" and "report" in LIGHT


def test_hostile_names_stay_text(workspace: Workspace) -> None:
    found = scored(workspace, dataset(workspace.root))
    text, figures = made(workspace, session=reviewed(workspace, found, name="<b onclick=x>"))
    seen = Reader(text)
    assert [tag for tag, _ in seen.tags].count("script") == 3 and [tag for tag, _ in seen.tags].count("img") == 24
    for tag, attributes in seen.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        assert all(not (value or "").startswith(("http", "javascript")) for value in attributes.values())
        assert tag != "img" or str(attributes["src"]).startswith("data:image/png;base64,")
    shown = " ".join(seen.texts)
    assert "<script>window.hacked=1</script>" in shown and "\u202e" not in text and "\x00" not in text
    assert "<U+202E>" in shown and "x" * 500 not in shown
    labels = next(one for one in figures.values() if one["data"][0]["type"] == "heatmap")["data"][0]["x"]
    assert not any("<" in one for one in labels) and labels[0].startswith("0: &lt;script&gt;")


def test_policy_allows_exactly_the_two_scripts_of_ours() -> None:
    report = Report("t")
    report.figure([{"y": [float("nan"), 1.0], "name": "</script><script>alert(1)</script>"}], {})
    text = report.html()
    (policy,) = [one[1]["content"] for one in Reader(text).tags if one[1].get("http-equiv")]
    assert policy is not None and "default-src 'none'" in policy and "unsafe-eval" not in policy
    bodies = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in bodies]
    assert len(bodies) == 2 and re.findall(r"sha256-([^']+)", policy) == hashes
    assert "'unsafe-inline'" not in policy.split("script-src")[1]


def test_words_are_visible_cut_and_escaped() -> None:
    assert escaped(NAMES[1]) == "&quot;&gt;&lt;img src=x onerror=&quot;window.hacked=1&quot;&gt;"
    assert visible(NAMES[6]) == "x" * 120 + "…" and visible("a\x1bb\x00") == "a<U+001B>b<U+0000>"
    assert json.loads(embedded({"a": "</script>&\u2028", "b": float("inf")})) == {"a": "</script>&\u2028", "b": None}
    assert "<" not in embedded("</script>") and "\u2028" not in embedded("\u2028")


def test_report_names_what_is_wrong(workspace: Workspace) -> None:
    scored(workspace, dataset(workspace.root))
    for args, message in (
        ({"scores": "a/b"}, "`scores` must be one of"),
        ({"session": "x"}, "`session` must be a review of this dataset"),
        ({"flagged": 0}, "`flagged` must be 1 to 500"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=message):
            made(workspace, **args)
    dataset(workspace.root, n=16)
    with pytest.raises(DataError, match="must be as it was when it was scored"):
        made(workspace)


def test_report_from_the_command_line(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    found = scored(workspace, dataset(workspace.root))
    reviewed(workspace, found)
    assert main(["report", "--scores", "fvm/posterior", "--review", "first", "--flagged", "2", "--name", "mine"]) == 0
    assert (workspace.exports / "mine.html").exists()
    assert main(["report", "--scores", "fvm/posterior", "--review", "other"]) == 2
    assert "`review` must be one of ['first']" in capsys.readouterr().err
