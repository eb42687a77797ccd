"""One generation and the training pairs that speak for and against it: a validation pair, or a prompt that is typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from fvm_core.errors import DataError, SettingsError
from fvm_core.generation.answer_list import list_answers
from fvm_core.generation.score_store import TRAINING, VALIDATION, answer_folder, read_answer, read_column
from fvm_core.generation.settings import PairScoreSettings
from fvm_core.generation.store import GenerationRecord, list_records
from fvm_core.jobs.launch import start_job
from fvm_core.visible import visible
from fvm_core.workspace import Workspace
from pages.ui.errors import shown
from pages.ui.generation_cards import PairCard, cards
from pages.ui.generation_jobs import running
from pages.ui.generation_models import ROLES
from pages.ui.generation_runs import choose_group, choose_method, groups, samples
from pages.ui.generation_watch import TITLES
from pages.ui.text import plain

MODES = {"pair": "A validation pair", "prompt": "A prompt of my own"}
MOST = 8


def draw(workspace: Workspace) -> None:
    """Draw the tab."""
    start = "pair" if groups(workspace) else "prompt"
    mode = st.segmented_control(
        "What to look at", list(MODES), default=start, required=True, key="gen_mode", format_func=MODES.__getitem__,
        persist_state="session",
    )  # fmt: skip
    with shown(stop=False):
        (_pair if mode == "pair" else _prompt)(workspace)


def _pair(workspace: Workspace) -> None:
    a, b, c = st.columns([1.6, 1.2, 1.2], vertical_alignment="bottom")
    with a:
        group = choose_group(workspace, key="gen_pair_scores")
    if group is None:
        return
    with b:
        run, method = choose_method(group, key="gen_pair_method")
    training, validation = (samples(workspace, run.name, part) for part in (TRAINING, VALIDATION))
    classes = [str(one) for one in dict.fromkeys(validation["class"].dropna())]
    wanted = c.selectbox("Class", ["", *classes], key="gen_pair_class", format_func=lambda one: one or "all classes")
    rows = np.flatnonzero(validation["class"] == wanted) if wanted else np.arange(len(validation))
    row = st.selectbox(
        "Validation pair", rows.tolist(), key=f"gen_pair_{run.name}_{wanted}",
        format_func=lambda place: visible(validation["prompt"].iloc[place], limit=110),
    )  # fmt: skip
    pair = validation.iloc[int(row)]
    image, root = run.kind == "image", str(run.provenance.get("validation_root", ""))
    own = None if pd.isna(pair["class"]) else str(pair["class"])
    st.html(
        cards([PairCard(pair["prompt"], pair["target"], own or "", f"loss {pair['loss']:.4g}")],
              root=root, image=image, large=True)
    )  # fmt: skip
    model = str(run.provenance.get("model", {}).get("name", ""))
    if model in list_records(workspace):
        if st.button("What does the model make of this prompt?", icon=":material/smart_toy:", key="gen_pair_ask"):
            _ask(workspace, {"model": model, "prompt": str(pair["prompt"]), "seed": 0})
        running(workspace, "gen_ask")
        for about in list_answers(workspace):
            if about["prompt"] == pair["prompt"] and about["model"] == model and not about.get("given"):
                st.caption(f"{plain(model)} answers (what speaks for this answer: under *A prompt of my own*):")
                st.html(_answer_card(workspace, about))
                break
    scores = read_column(workspace, run.name, method, str(pair["id"])).astype(np.float64)
    _note(method, scores, run.provenance)
    both_sides(training, scores, own, root=run.root, image=image)


def _note(method: str, scores: NDArray[np.float64], about: Mapping[str, Any]) -> None:
    epsilon = float(about.get("settings", {}).get("epsilon", 0))
    if method == "influence" and (text := second_order_note(scores, epsilon)):
        st.caption(text)


def second_order_note(scores: NDArray[np.float64], epsilon: float) -> str:
    """Return what to know of Eq. 20's scores x + 1/2 epsilon x^2 where the square outweighs x: there |x| > 2 / epsilon.

    >>> x = np.array([-90.0, 120.0])
    >>> second_order_note(x + 0.005 * x**2, 0.01)
    ''
    """
    if epsilon == 0 or len(scores) == 0 or scores.max() <= 4 / epsilon:
        return ""
    return (
        f"Some scores here come mostly from Eq. 20's second-order term, a square (epsilon {epsilon:g}): a pair that "
        f"speaks strongly against can stand high by it, too, and no first-order term brings a score below "
        f"-1 / (2 epsilon) = {-0.5 / epsilon:,.0f}. TracIn and DataInf tell the two sides apart."
    )


def both_sides(frame: pd.DataFrame, scores: NDArray[np.float64], own: str | None, *, root: str, image: bool) -> None:
    """Draw the training pairs that speak most for it (positive scores) and most against it, side by side."""
    known = own is not None and not frame["class"].isna().any()
    order = np.argsort(-scores, kind="stable")
    if known:
        count = int((frame["class"] == own).sum())
        top = order[:count]
        share = float((frame["class"].to_numpy()[top] == own).mean()) if count else 0.0
        st.caption(
            f"Of the {count:,} highest-scored training pairs, {100 * share:.0f} % are of the same class ({plain(own)})."
        )
    sides = (("Speak most for it", order[:MOST]), ("Speak most against it", order[::-1][:MOST]))
    for column, (title, rows) in zip(st.columns(2, gap="medium"), sides, strict=True):
        column.markdown(f"**{title}**")
        column.html(
            cards(
                [
                    PairCard(
                        frame["prompt"].iloc[row], frame["target"].iloc[row],
                        "" if pd.isna(frame["class"].iloc[row]) else str(frame["class"].iloc[row]),
                        f"{scores[row]:+.3g}", bool(frame["class"].iloc[row] == own) if known else None,
                    )
                    for row in rows.tolist()
                ],
                root=root, image=image,
            )
        )  # fmt: skip


def _prompt(workspace: Workspace) -> None:
    tuned = {one.name: one for one in reversed(list_records(workspace).values()) if one.role != "base"}
    if not tuned:
        st.info("There is no tuned adapter to ask yet. Tune one first.", icon=":material/smart_toy:")
        return
    model = st.selectbox(
        "Tuned adapter",
        list(tuned),
        key="gen_ask_model",
        format_func=lambda name: f"{name} · {ROLES[tuned[name].role]}",
    )
    _ask_form(workspace, tuned[model])
    running(workspace, "gen_ask")
    answers = {str(one["key"]): one for one in list_answers(workspace) if one["model"] == model}
    if not answers:
        st.caption("Nothing was asked of this model yet.")
        return
    key = st.selectbox(
        "Asked so far", list(answers), key=f"gen_asked_{model}_{next(iter(answers))}",
        format_func=lambda one: visible(answers[one]["prompt"], limit=110),
    )  # fmt: skip
    about, frame = read_answer(workspace, key)
    st.html(_answer_card(workspace, about, large=True))
    methods = [one for one in about["methods"] if one in frame.columns]
    if not methods:
        raise DataError(f"the answer {key!r} holds no scores. Ask again.")
    role = str(about.get("role", ""))
    names = {"influence": TITLES.get(role, role) + " (Eq. 20)", "tracin": "TracIn", "datainf": "DataInf"}
    method = st.segmented_control(
        "Method", methods, default=methods[0], required=True, key=f"gen_asked_method_{key}",
        format_func=lambda one: names.get(one, one),
    )  # fmt: skip
    image = about.get("kind") == "image"
    root = str(about.get("root", ""))
    scores = frame[str(method)].to_numpy(np.float64)
    _note(str(method), scores, about)
    both_sides(frame, scores, None, root=root, image=image)


def _ask_form(workspace: Workspace, record: GenerationRecord) -> None:
    with st.form("gen_ask_form", border=False, clear_on_submit=False):
        a, b, c = st.columns([2.6, 1.8, 1], vertical_alignment="bottom")
        prompt = a.text_area("Prompt", height=80, max_chars=20_000)
        target, seed = "", 0
        if record.kind == "text":
            target = b.text_area(
                "Text to explain instead of its own answer", height=80, max_chars=20_000, help="Empty: its own answer."
            )
        else:
            seed = int(b.number_input("Seed of the image", 0, 2**31 - 1, 0))
        pressed = c.form_submit_button("Ask", type="primary", icon=":material/send:", width="stretch")
    if not pressed:
        return
    if not prompt.strip():
        raise SettingsError("`Prompt` must not be empty. Type what to ask.")
    _ask(workspace, {"model": record.name, "prompt": prompt, "target": target, "seed": seed})


def _ask(workspace: Workspace, args: dict[str, Any]) -> None:
    start_job(workspace, "gen_ask", {**args, "settings": PairScoreSettings().to_json()}, title=f"Ask {args['model']}")
    st.rerun()


def _answer_card(workspace: Workspace, about: dict[str, Any], *, large: bool = False) -> str:
    image = about.get("kind") == "image"
    loss = about.get("loss")
    told = f"loss {loss:.4g}" if isinstance(loss, int | float) else ""
    word = "given text" if about.get("given") else f"answer of {about['model']}"
    pair = PairCard(str(about["prompt"]), str(about["answer"]), word, told)
    root = str(answer_folder(workspace, str(about["key"]))) if image else ""
    return cards([pair], root=root, image=image, large=large)
