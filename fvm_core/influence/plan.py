"""Which parameters have an exact layer rule and which go through vmap; decided once, by running the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.errors import DataError, SettingsError
from fvm_core.influence.capture import evaluating
from fvm_core.influence.fallback import vmap_works
from fvm_core.influence.foldable import find_pairs
from fvm_core.influence.folded_norms import Pair
from fvm_core.influence.layers import LinearRule, Rule
from fvm_core.influence.layers_conv import ConvRule
from fvm_core.influence.layers_norm import BatchNormRule, GroupNormRule, LayerNormRule
from fvm_core.influence.probing import Hook, parameter_uses, readers, run_watched
from fvm_core.influence.rectified import Rectified, find_rectified

RULES: tuple[Rule, ...] = (LinearRule(), ConvRule(), BatchNormRule(), GroupNormRule(), LayerNormRule())

RECOMPUTES = (
    "`model` keeps its activations in a way of its own (torch.utils.checkpoint, say), which gradients of single "
    "samples cannot follow. Switch it off (in torchvision: memory_efficient=False) to score."
)


@dataclass(frozen=True)
class Plan:
    """`modules`: name -> module; `rules`: module name -> rule; `calls`: module name -> runs in one forward pass;
    `owned`: module name -> {local parameter name: the model's name}; `fallback`: parameters through vmap (or a loop
    where vmap cannot run the model); `alone`: samples of a batch affect each other, so that each is run by itself;
    `channels_last`: images go through faster in that layout; `pairs`: norms that can be folded; `rectified`:
    convolutions {module name: what reads it} that only ReLUs read, sought for `half`; `notes`: sentences for a
    person."""

    modules: dict[str, nn.Module]
    rules: dict[str, Rule]
    calls: dict[str, int]
    owned: dict[str, dict[str, str]]
    fallback: tuple[str, ...] = ()
    by_loop: bool = False
    alone: bool = False
    channels_last: bool = False
    pairs: tuple[Pair, ...] = ()
    rectified: Mapping[str, Rectified] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass
class _Seen:
    """What one module met in the probing passes."""

    calls: int = 0
    exact: bool = True
    inputs: tuple[tuple[Tensor, int], ...] = ()


def rule_for(module: nn.Module) -> Rule | None:
    """Return the rule whose layer this is; None for another layer, or a subclass with a forward of its own."""
    for rule in RULES:
        for kind in rule.forward_of:
            if isinstance(module, kind):
                same = type(module).forward is kind.forward
                inner = getattr(type(module), "_conv_forward", None) is getattr(kind, "_conv_forward", None)
                return rule if same and inner else None
    return None


def make_plan(model: nn.Module, x: Tensor, *, half: bool = False) -> Plan:
    """Run `model` on 2 and on 3 samples of `x` (b, ...) and assign every parameter to a rule or to the fallback.

    A rule is used only where it is exact: the layer is a known one with its parameters in place, its first axis is the
    samples, its input is not changed later in place, and nothing else in the model reads its parameters. `half`: the
    convolutions are to run in bf16.

    Raises:
        DataError: no sample, or the model does not give one row of logits a sample.
        SettingsError: the model recomputes activations in its backward pass.
    """
    x = _five(x)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    with evaluating(model, parameter_grads=True):
        seen: dict[str, _Seen] = {}
        uses: dict[int, int] = {}
        whole: list[Tensor] = []
        for part in (x[:2], x[2:]):
            logits, uses = _probe(model, part, seen)
            whole.append(logits)
        mixing = _mixes(model, x, torch.cat(whole))
        channels_last = not mixing and _runs_channels_last(model, x, torch.cat(whole))
    conv = ConvRule()  # one for all layers: it keeps memory
    rules: dict[str, Rule] = {}
    owned: dict[str, dict[str, str]] = {}
    for name, found in seen.items():
        module, rule = model.get_submodule(name), rule_for(model.get_submodule(name))
        local = {key: value for key, value in module.named_parameters(recurse=False)}
        own = set(local) <= {"weight", "bias"} and set(local) == {
            key for key in ("weight", "bias") if getattr(module, key, None) is not None
        }
        single = all(uses.get(id(value), 0) in (0, found.calls // 2) for value in local.values())
        if rule and local and found.exact and own and single and not mixing:
            rules[name] = conv if isinstance(rule, ConvRule) else rule
            owned[name] = {key: names[id(value)] for key, value in local.items()}
    covered = {name for own_names in owned.values() for name in own_names.values()}
    fallback = tuple(name for name in names.values() if name not in covered)
    by_loop = bool(fallback) and not _vmap_works(model, fallback, x[:2], whole[0].shape[1])
    calls = {name: seen[name].calls // 2 for name in rules}
    with evaluating(model, parameter_grads=True):
        pairs = () if mixing else find_pairs(model, x[:2], calls)
        rectified = find_rectified(model, x[:2], calls, pairs) if half and not mixing else {}
    notes = _notes(fallback, mixing, by_loop)
    modules = dict(model.named_modules())
    return Plan(modules, rules, calls, owned, fallback, by_loop, mixing, channels_last, pairs, rectified, notes)


def _five(x: Tensor) -> Tensor:
    """Return five samples of x. Those that come again are dimmed: among equal ones a batch's statistics do not show."""
    if len(x) == 0:
        raise DataError("`x` must hold at least one sample.")
    order = torch.arange(5, device=x.device)
    again = (1 - 0.15 * (order // len(x))).view(-1, *(1 for _ in x.shape[1:]))
    return x[order % len(x)] * again.to(x.dtype) if x.is_floating_point() else x[order % len(x)]


def _vmap_works(model: nn.Module, names: tuple[str, ...], x: Tensor, classes: int) -> bool:
    with evaluating(model):
        return vmap_works(model, names, x, classes)


def _probe(model: nn.Module, x: Tensor, seen: dict[str, _Seen]) -> tuple[Tensor, dict[int, int]]:
    """Run the model once, note what each ruled layer meets; return logits and the uses of each parameter."""

    def watch(name: str, rule: Rule) -> Hook:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            record = seen.setdefault(name, _Seen())
            a = args[0] if args else kwargs.get("input")
            record.calls += 1
            if isinstance(a, Tensor) and a.dim() > 0 and len(a) == len(out) == len(x):
                record.exact = record.exact and rule.fits(module, a.shape)
                record.inputs += ((a, a._version),)
            else:
                record.exact = False

        return hook

    ruled = {name: rule for name, module in model.named_modules() if (rule := rule_for(module)) is not None}
    try:
        with torch.autograd.graph.disable_saved_tensors_hooks(RECOMPUTES):
            logits = run_watched(model, x, {name: watch(name, rule) for name, rule in ruled.items()})
    except RuntimeError as error:
        if RECOMPUTES in str(error):
            raise SettingsError(RECOMPUTES) from None
        raise
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(x):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise DataError(f"`model` must return logits of shape (samples, classes), got {shape} for {len(x)} samples.")
    for record in seen.values():
        record.exact = record.exact and all(a._version == version for a, version in record.inputs)
        record.inputs = ()
    if any(node and "CheckpointFunction" in node.name() for node in readers([logits])):
        raise SettingsError(RECOMPUTES)
    return logits.detach(), parameter_uses([logits])


def _mixes(model: nn.Module, x: Tensor, logits: Tensor) -> bool:
    """Return whether a sample's logits depend on the other samples of its batch (batch statistics, for one)."""
    with torch.no_grad():
        alone = torch.cat([model(sample.unsqueeze(0)) for sample in x])
    scale = logits.abs().amax().clamp_min(1e-6)
    # Half of the digits are left to rounding; CUDA's convolutions may round to ten bits (TF32).
    share = max(torch.finfo(logits.dtype).eps ** 0.5, 1e-2 if x.is_cuda else 0.0)
    return bool((alone - logits).abs().amax() > share * scale) or any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None
        for module in model.modules()
    )


def _runs_channels_last(model: nn.Module, x: Tensor, logits: Tensor) -> bool:
    """Return whether images on a CPU can be laid out channels last: a `view` in the model may forbid it."""
    if x.dim() != 4 or x.device.type != "cpu":
        return False
    try:
        with torch.no_grad():
            found = model(x.contiguous(memory_format=torch.channels_last))
    except RuntimeError:
        return False
    return bool((found - logits).abs().amax() <= 1e-3 * logits.abs().amax())


def _notes(fallback: tuple[str, ...], mixing: bool, by_loop: bool) -> tuple[str, ...]:
    if not fallback:
        return ()
    shown = ", ".join(fallback[:6]) + (f" and {len(fallback) - 6} more" if len(fallback) > 6 else "")
    reason = "samples of a batch affect each other" if mixing else "no exact layer rule fits"
    way = "one sample at a time (vmap cannot run this model)" if by_loop else "through torch.func.vmap"
    return (f"{reason}: gradients of {shown} are taken {way}: exact, but slower.",)
