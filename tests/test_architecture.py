"""The seam: no streamlit below fvm_core, no torch in the pages, nor behind what they import."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORE = sorted((ROOT / "fvm_core").rglob("*.py"))
PAGES = [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]


def imports(tree: ast.AST, package: str = "") -> Iterator[str]:
    """Yield every module that a tree imports anywhere, importlib.import_module of a constant included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(part for part in (package if node.level else "", node.module or "") if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module", "__import__",
        ):  # fmt: skip
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def imported_by(path: Path) -> set[str]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    return set(imports(ast.parse(path.read_text(encoding="utf-8")), package))


def offenders(paths: list[Path], forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in sorted(imported_by(path))
        if name.split(".")[0] in forbidden
    ]


def test_walker_sees_every_form_of_import() -> None:
    source = "import torch.nn\ndef f():\n  from torch import nn\n  import_module('torch')\nfrom .x import y\n"
    assert set(imports(ast.parse(source), "pages")) == {"torch.nn", "torch", "pages.x", "pages.x.y"}


def test_core_never_imports_streamlit_or_pages() -> None:
    assert len(CORE) > 30
    assert offenders(CORE, ("streamlit", "pages", "app")) == []


def test_pages_and_app_never_import_torch() -> None:
    assert len(PAGES) > 10
    assert offenders(PAGES, ("torch", "torchvision", "safetensors")) == []


def test_no_page_turns_off_the_escaping_of_html() -> None:
    for path in PAGES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg in ("unsafe_allow_html", "unsafe_allow_javascript"):
                assert isinstance(node.value, ast.Constant) and not node.value.value, f"{path}: {node.arg}"


def core_modules_of_pages() -> list[str]:
    """Return the fvm_core modules that any page or its helpers name in an import."""
    known = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in CORE}
    return sorted({name for path in PAGES for name in imported_by(path)} & known)


PROMISED = ("errors", "files", "workspace", "provenance", "data", "models.spec", "models.store", "tuning.settings",
            "influence.methods", "influence.store", "influence.metrics", "review", "jobs")  # fmt: skip


def promised_modules() -> list[str]:
    """Return the fvm_core modules that are torch-free by agreement; of a folder, every module in it."""
    known = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in CORE if path.stem != "__init__"}
    return sorted(
        module for module in known for name in PROMISED if (module + ".").startswith(f"fvm_core.{name}.")
    )  # fmt: skip


def test_modules_of_the_pages_and_those_promised_leave_torch_out() -> None:
    modules = sorted({*core_modules_of_pages(), *promised_modules()})
    assert {"fvm_core.jobs.launch", "fvm_core.data.registry", "fvm_core.models.store"} <= set(modules)
    script = (
        "import importlib, sys\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        "    if 'torch' in sys.modules: sys.exit(f'{name} brings torch')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
