"""The command line: one command a module, quick help, errors told on stderr with code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fvm_core.cli.main import main
from fvm_core.jobs.control import write_request
from fvm_core.jobs.folder import open_folder
from fvm_core.jobs.launch import ROOT, run_job
from fvm_core.jobs.status import list_jobs
from fvm_core.workspace import Workspace


def test_help_lists_commands_without_importing_torch() -> None:
    code = (
        "import sys; from fvm_core.cli.main import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    print('torch' in sys.modules, 'pandas' in sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0 and result.stderr == "False False\n"
    for command in ("job", "train", "tune", "score", "demo", "dataset"):
        assert f"\n    {command} " in result.stdout


def test_job_command_imports_neither_torch_nor_pandas_by_itself(workspace: Workspace) -> None:
    code = (
        "import sys; from fvm_core.cli.main import main\n"
        "main(['job', '/nonexistent']); print('torch' in sys.modules, 'pandas' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == "False False\n"


def test_module_runs() -> None:
    result = subprocess.run([sys.executable, "-m", "fvm_core", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "FVM Studio 0.1.0\n")


@pytest.mark.parametrize("argv", [[], ["bake"], ["job"], ["main"], ["arguments"]])
def test_wrong_usage_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(argv)
    assert exit.value.code == 2 and "usage: python -m fvm_core" in capsys.readouterr().err


def test_job_without_a_folder_of_ours(workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["job", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: Job `{tmp_path.name}` is damaged")


def test_job_resumes_in_view_and_tells_its_end_by_the_code(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    for fail_with, code in (("data", 2), ("defect", 1)):
        with pytest.raises((ValueError, RuntimeError), match="planted"):
            run_job(workspace, "selftest", {"steps": 3, "seconds": 0, "fail_at": 2, "fail_with": fail_with})
        folder = open_folder(workspace, list_jobs(workspace)[0].id)
        (folder.root / "count.json").unlink()
        assert main(["job", str(folder.root)]) == code
        write_request(folder, "stop")
        assert main(["job", str(folder.root)]) == 0
        capsys.readouterr()
        assert main(["job", str(folder.root)]) == 2
        assert "is done and cannot be run again" in capsys.readouterr().err
    assert [status.state for status in list_jobs(workspace)] == ["done", "done"]


def test_workspace_option_comes_before_or_after_the_command(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = workspace.root.with_name("other")
    job = run_job(Workspace(before), "selftest", {"steps": 1, "seconds": 0}).id
    for argv in (["--workspace", str(before), "jobs"], ["jobs", "--workspace", str(before)]):
        assert main(argv) == 0
        assert job in capsys.readouterr().out
    assert main(["jobs"]) == 0
    assert "No job yet" in capsys.readouterr().out


def test_jobs_steers_one_job(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    job = run_job(workspace, "selftest", {"steps": 1, "seconds": 0}, title="Count").id
    capsys.readouterr()
    assert main(["jobs", "show", job]) == 0
    assert capsys.readouterr().out == "Count: done, step 1\n"
    for action in ("pause", "continue", "stop", "resume"):
        assert main(["jobs", action, job]) == 2
        assert "is done" in capsys.readouterr().err
    assert main(["jobs", "delete", job]) == 0
    assert list_jobs(workspace) == []
    assert main(["jobs", "stop"]) == 2
    assert "`job` must be the id of a job" in capsys.readouterr().err
