"""Two gloo processes against one: every solver's weights, the Fisher, and an error of one that both raise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from distributed_cases import SOLVERS, everything
from shared_worker import TESTS, ends_of, start_pair
from torch import nn

from fvm_core.distributed.batch_loss import check_shares
from fvm_core.distributed.batchnorm import synchronised
from fvm_core.distributed.environment import Launch, check_command, launched
from fvm_core.distributed.fisher import shared_fisher
from fvm_core.distributed.join import joined
from fvm_core.distributed.workers import ALONE, Workers, workers_of
from fvm_core.errors import DataError, JobError, SettingsError
from fvm_core.jobs.memory_context import MemoryContext

CASES = [*(f"{solver} double" for solver in SOLVERS), "sgd single", "sam single", "idle double"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What both workers computed, one alone, and how the workers ended."""
    folder = tmp_path_factory.mktemp("pair")
    ends = ends_of(
        start_pair([str(TESTS / "distributed_cases.py"), str(folder)], folder, FVM_STUDIO_WORKER_TIMEOUT="60")
    )
    found = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2) if ends]
    return {"workers": found, "one": everything(ALONE), "ends": ends}


@pytest.mark.parametrize("case", CASES)
def test_two_workers_end_with_the_weights_of_one(pair: dict[str, Any], case: str) -> None:
    """Batches of 6 and 5: shares of 3 and 3, and of 2 and 3; LPF's draws share again."""
    tolerance = 1e-6 if "single" in case else 1e-10
    one, (first, second) = pair["one"][case], (worker[case] for worker in pair["workers"])
    assert first.keys() == second.keys() == one.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            first[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )
        assert torch.equal(first[name], second[name]), f"{name} differs between the workers"
    assert len(set(one["losses"].tolist())) == len(one["losses"]), "steps that change nothing prove nothing"


@pytest.mark.parametrize("case", ["fisher of seven", "fisher of one"])
def test_the_fisher_of_two_workers_is_that_of_one(pair: dict[str, Any], case: str) -> None:
    for worker in pair["workers"]:
        for name, value in pair["one"][case].items():
            torch.testing.assert_close(worker[case][name], value, rtol=1e-12, atol=0)
            assert value.dtype == torch.float64 and (value > 0).any()


def test_an_error_of_one_worker_is_raised_by_both(pair: dict[str, Any]) -> None:
    (code, _, said), (other, _, cause) = pair["ends"]
    assert code == other == 1
    assert "JobError: worker 1 of 2 failed: image 7 of worker 1 is broken." in said
    assert "DataError: image 7 of worker 1 is broken." in cause


def test_shares_are_contiguous_and_complete() -> None:
    for n in (0, 1, 2, 7, 64):
        found = [i for rank in range(3) for i in range(n)[Workers(rank, 3).share(n)]]
        assert found == list(range(n))


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "x", "WORLD_SIZE": "2"}, "`RANK` must be a whole number >= 0, got 'x'"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "`WORLD_SIZE` must be a whole number >= 1, got '0'"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "`RANK` must be < WORLD_SIZE = 2, got 2"),
        ({"RANK": "0", "WORLD_SIZE": "2", "FVM_STUDIO_WORKER_TIMEOUT": "0"}, "`FVM_STUDIO_WORKER_TIMEOUT` must be"),
    ],
)
def test_a_wrong_environment_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        launched(environment)
    assert launched({}) is None and launched({"RANK": "0"}) is None


def test_other_commands_refuse_several_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_command("score")
    with pytest.raises(SettingsError, match="`train` is the work of one process, got WORLD_SIZE = 2"):
        check_command("train")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    check_command("train")


def test_batches_that_leave_a_worker_without_a_sample_are_refused() -> None:
    check_shares(4, Workers(0, 2), draws=2)
    with pytest.raises(SettingsError, match="`batch_size` must give each of 3 workers a sample, got batches of 2"):
        check_shares(2, Workers(0, 3))
    with pytest.raises(SettingsError, match="got batches of 5 in 3 draws"):
        check_shares(5, Workers(0, 2), draws=3)


def test_a_batchnorm_of_ones_own_is_refused_and_torch_s_is_put_back() -> None:
    class Own(nn.BatchNorm1d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    message = r"`0` must be a BatchNorm of torch\.nn for several workers, got Own"
    with pytest.raises(SettingsError, match=message), synchronised(nn.Sequential(Own(2)), Workers(0, 2)):
        pass
    net = nn.Sequential(nn.BatchNorm1d(2))
    with synchronised(net, Workers(0, 2)):
        assert "forward" in vars(net[0])
        net.eval()
        x = torch.randn(3, 2)
        torch.testing.assert_close(net(x), nn.BatchNorm1d(2).eval()(x))
    assert "forward" not in vars(net[0])


def test_a_fisher_without_any_sample_is_refused() -> None:
    with pytest.raises(DataError, match="the validation set has no sample"):
        shared_fisher(nn.Linear(2, 2), [], ALONE)


def test_workers_that_never_meet_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    message = r"worker 1 could not meet the other 1 within 1 s .*Check MASTER_ADDR"
    with pytest.raises(JobError, match=message), joined(Launch(1, 2), patience=1):
        pass


def test_a_context_without_workers_has_one() -> None:
    assert workers_of(MemoryContext()) is ALONE


def test_defects_of_our_own_keep_their_error() -> None:
    with pytest.raises(RuntimeError, match="shapes do not fit"), Workers(0, 2).guarded():
        raise RuntimeError("shapes do not fit")
    message = r"did not answer within 600 s \(FVM_STUDIO_WORKER_TIMEOUT\)"
    with pytest.raises(JobError, match=message), Workers(0, 2).guarded():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer")
