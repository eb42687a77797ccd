"""Which pass fills which method. A pass is imported only when one of its methods is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from fvm_core.errors import SettingsError
from fvm_core.influence.passes.protocol import Pass

PASSES: dict[str, tuple[str, ...]] = {
    "baselines:BaselinePass": ("loss", "margin", "logit_margin", "el2n", "confident"),
    "noise:NoisePass": ("posterior", "error_influence", "typical_influence"),
    "influence:InfluencePass": ("influence",),
    "ekfac:InfluenceEkfacPass": ("influence_ekfac",),
    "ablation:AblationPass": ("first_train", "first_val", "second_train"),
    "datainf:DataInfPass": ("datainf",),
    "ekfac:EkfacPass": ("ekfac",),
    "standard:StandardPass": ("standard",),
    "random_vectors:RandomDataInfPass": ("influence_datainf",),
    "random_vectors:RandomLissaPass": ("influence_lissa",),
    "tracin:TracInPass": ("tracin",),
    "gex:GexPass": ("gex",),
}
"""`module:class` below this package: the methods that it fills. A class takes those asked for as `methods`."""


def passes_for(methods: Sequence[str]) -> list[Pass]:
    """Return the passes that together fill `methods`, each method in one of them, cheapest first.

    Raises:
        SettingsError: a method that no pass fills.
    """
    unknown = sorted(set(methods) - {method for filled in PASSES.values() for method in filled})
    if unknown:
        raise SettingsError(f"`methods` has no pass for {unknown}; known are {sorted(sum(PASSES.values(), ()))}.")
    found: list[Pass] = []
    for place, filled in PASSES.items():
        asked = tuple(method for method in filled if method in methods)
        if asked:
            module, _, name = place.partition(":")
            found.append(getattr(importlib.import_module(f"fvm_core.influence.passes.{module}"), name)(methods=asked))
    return found
