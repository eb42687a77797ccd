"""Sets of pairs: made by a seed, uploaded, or an image-text folder; and those that are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from fvm_core.errors import DataError, FVMError
from fvm_core.generation.image_data import MADE, add_image_folder
from fvm_core.generation.pair_file import read_pair_file
from fvm_core.generation.pairs import PairSet
from fvm_core.generation.plant_wrong import plant_wrong
from fvm_core.generation.sentences import sentence_pairs
from fvm_core.generation.store import list_pairs, pairs_path, read_pairs, write_pairs
from fvm_core.generation.word_problems import word_problem_pairs
from fvm_core.workspace import Workspace
from pages.ui.errors import shown
from pages.ui.generation_cards import PairCard, cards
from pages.ui.text import plain
from pages.ui.upload import keep_upload

MAKERS: dict[str, Callable[..., tuple[PairSet, PairSet]]] = {
    "sentences": sentence_pairs, "problems": word_problem_pairs,
}  # fmt: skip
SOURCES = {
    "sentences": "Sentences", "problems": "Word problems", "styles": "Digits in three styles",
    "subjects": "Digits as subjects", "file": "JSONL or Parquet", "folder": "Image-text folder",
}  # fmt: skip
_TABLE = (
    "Ten classes after the paper's Table {}, drawn by a seed: NAME-train and NAME-val. Wrong targets are planted in "
    "the training pairs, to see whether they are found."
)
TOLD = {
    "sentences": "Ten transformations of sentences. " + _TABLE.format(7),
    "problems": "Sums in words. " + _TABLE.format(8),
    "styles": "The demo's digits drawn as brush strokes, pixel art and line sketches: NAME-train, NAME-val and "
    "NAME-pretrain, to train a small image model on.",
    "subjects": "Thirty of the demo's digits, each with a random string as its name and a few views, turned and moved: "
    "NAME-train and NAME-val. The small image model of the three styles was not trained on them.",
}


def draw(workspace: Workspace) -> None:
    """Draw the form and the sets that are there."""
    st.subheader("Pairs of prompt and target")
    source = st.segmented_control(
        "Where pairs come from", list(SOURCES), default="sentences", required=True, key="generation_source",
        format_func=SOURCES.__getitem__, persist_state="session",
    )  # fmt: skip
    with shown(stop=False):
        made = {"file": _file, "folder": _folder}.get(str(source), _made)(workspace, str(source))
        if made:
            st.success(plain(f"Kept: {', '.join(made)}."), icon=":material/check:")
    listing(workspace)


def _made(workspace: Workspace, source: str) -> list[str]:
    st.caption(TOLD[source])
    usual = MADE[source][1:] if source in MADE else (90, 10)
    with st.form(f"generation_make_{source}", border=False):
        a, b, c, d, e, f = st.columns([1.4, 1, 1, 1, 0.9, 1.2], vertical_alignment="bottom")
        name = a.text_input("Name", value=source, max_chars=50)
        sizes = {
            "training": int(b.number_input("Training a class", 1, 500, usual[0])),
            "validation": int(c.number_input("Validation a class", 1, 500, usual[1])),
        }
        wrong = d.number_input("Wrong targets (%)", 0, 90, 0) / 100
        seed = int(e.number_input("Seed", 0, 2**31 - 1, 0))
        if not f.form_submit_button("Make pairs", icon=":material/add:", width="stretch"):
            return []
    if source in MADE:
        return MADE[source][0](workspace, name, **sizes, wrong=wrong, seed=seed)
    training, validation = MAKERS[source](**sizes, seed=seed)
    if wrong:
        training = plant_wrong(training, rate=wrong, seed=seed)
    return [write_pairs(workspace, f"{name}-{end}", one) for end, one in (("train", training), ("val", validation))]


def _file(workspace: Workspace, source: str) -> list[str]:
    st.caption(
        "Each row has `prompt` and `target`, both text. `class` may name what the pair is an example of; `wrong` (true "
        "or false) which targets are known to be wrong."
    )
    with st.form("generation_file", border=False):
        a, b, c = st.columns([2.6, 1.4, 1], vertical_alignment="bottom")
        upload = a.file_uploader("File of pairs", type=["jsonl", "ndjson", "parquet"])
        name = b.text_input("Name", max_chars=64, help="By default the file's name.")
        pressed = c.form_submit_button("Take over", icon=":material/upload_file:", width="stretch")
    if not pressed:
        return []
    if upload is None:
        raise DataError("`File of pairs` must be chosen first. Choose a .jsonl or .parquet file.")
    pairs = read_pair_file(keep_upload(workspace, upload))
    if pairs.kind != "text":
        raise DataError(
            "an uploaded file must hold text, but this one names image files. Give the folder of the images instead."
        )
    return [write_pairs(workspace, name or Path(str(upload.name)).stem, pairs)]


def _folder(workspace: Workspace, source: str) -> list[str]:
    st.caption(
        "Images with a `metadata.jsonl` (`file_name`, `text` and, if known, a class), or with a NAME.txt beside each. "
        "The images stay where they are; the path is one of the machine that the app runs on."
    )
    with st.form("generation_folder", border=False):
        a, b, c, d, e = st.columns([2.4, 1.2, 1, 1, 1], vertical_alignment="bottom")
        folder = a.text_input("Path of the folder")
        name = b.text_input("Name", max_chars=64, help="By default the folder's name.")
        text = c.text_input("Column of prompts", help="Empty: text, caption or prompt.")
        classes = d.text_input("Column of classes", help="Empty: class, style, subject or label; folder; none.")
        pressed = e.form_submit_button("Take over", icon=":material/folder_open:", width="stretch")
    if not pressed:
        return []
    if not folder.strip():
        raise DataError("`Path of the folder` must not be empty. Type where the images are.")
    path = Path(folder.strip()).expanduser()
    return [add_image_folder(workspace, name or path.absolute().name, path, text=text.strip(), classes=classes.strip())]


def listing(workspace: Workspace) -> None:
    """Draw the sets that are there, and some pairs of the chosen one."""
    names = list_pairs(workspace)
    if not names:
        st.caption("There is no set of pairs yet.")
        return
    rows = []
    for name in names:
        try:
            pairs = opened(workspace, name)
        except FVMError as error:
            rows.append({"Set": name, "Kind": "damaged", "Pairs": 0, "Classes": 0, "Planted wrong": str(error)[:120]})
            continue
        wrong = "" if pairs.wrong is None else f"{sum(pairs.wrong):,}"
        rows.append(
            {"Set": name, "Kind": pairs.kind, "Pairs": len(pairs), "Classes": len(pairs.class_names),
             "Planted wrong": wrong}
        )  # fmt: skip
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    with st.expander("Look at pairs", icon=":material/visibility:", key="generation_look", on_change="rerun") as part:
        if part.open:
            name = st.selectbox("Set", names, key="generation_look_at")
            with shown(stop=False):
                _examples(opened(workspace, name))


def _examples(pairs: PairSet) -> None:
    """Draw the first pair of each class, or the first eight."""
    classes = pairs.classes or [""] * len(pairs)
    firsts = [classes.index(one) for one in pairs.class_names][:12] or list(range(min(8, len(pairs))))
    for note in pairs.notes:
        st.caption(plain(note, limit=400))
    for side, column in enumerate(st.columns(2)):
        column.html(
            cards(
                [PairCard(pairs.prompts[row], pairs.targets[row], classes[row]) for row in firsts[side::2]],
                root=pairs.root, image=pairs.kind == "image",
            )
        )  # fmt: skip


def opened(workspace: Workspace, name: str) -> PairSet:
    """Return a set of pairs, read again only when its file changed. Raises DataError."""
    path = pairs_path(workspace, name)
    return _opened(workspace, name, str(path), path.stat().st_mtime_ns if path.exists() else 0)


@st.cache_resource(show_spinner=False, max_entries=16)
def _opened(_workspace: Workspace, name: str, path: str, changed: int) -> Any:
    return read_pairs(_workspace, name)


def sets_of_kind(workspace: Workspace, kind: str) -> list[str]:
    """Return the names of the readable sets of a kind."""
    found = []
    for name in list_pairs(workspace):
        try:
            if opened(workspace, name).kind == kind:
                found.append(name)
        except FVMError:
            continue
    return found
