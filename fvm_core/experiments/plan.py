"""From a grid to its cells, and from each cell to the parts that it needs. No torch here: pages show the cost."""

from __future__ import annotations

from dataclasses import dataclass

from fvm_core.data.registry import open_named
from fvm_core.experiments.grid import Grid, recipe_mark
from fvm_core.experiments.parts import Model, Part, Parts, done
from fvm_core.experiments.sources import TRAINING, VALIDATION, Rows, all_rows, check_truth, draw
from fvm_core.experiments.store import Store
from fvm_core.experiments.tables import SOLVERS, TABLES, Row, Table, datasets_for, primary
from fvm_core.models.store import read_record
from fvm_core.workspace import Workspace

NO_CHECKPOINTS = "needs checkpoints of the base model's training, but none were kept."


@dataclass(frozen=True)
class Candidate:
    """Scores that can fill a cell: the part that makes them, and the epoch of a checkpoint (None: final weights)."""

    part: str
    epoch: int | None


@dataclass(frozen=True)
class Cell:
    """One row of one table on one dataset and seed. A starred row has a candidate a checkpoint, others one. `lacks`
    says why there is none."""

    table: str
    row: Row
    dataset: str
    setting: str
    fingerprint: str
    seed: int
    validation_size: int
    candidates: tuple[Candidate, ...]
    lacks: str = ""


@dataclass(frozen=True)
class Figure:
    """One figure on one dataset and seed: `series` maps a name (`standard 4`, `accuracy`) to the part behind it."""

    key: str
    dataset: str
    setting: str
    fingerprint: str
    seed: int
    series: dict[str, str]
    lacks: str = ""


@dataclass(frozen=True)
class Plan:
    """`parts` by key; `cells` and `figures` in the order of work; `rows` are the datasets to register in the store;
    `mark` is the digest that rows of one table share (`grid.recipe_mark`)."""

    parts: Parts
    cells: tuple[Cell, ...]
    figures: tuple[Figure, ...]
    rows: tuple[Rows, ...]
    mark: str

    def needed(self, item: Cell | Figure) -> list[str]:
        """Return the keys of all parts behind a cell or figure, in the order of work."""
        keys = [each.part for each in item.candidates] if isinstance(item, Cell) else list(item.series.values())
        return list(dict.fromkeys(key for part in keys for key in self.parts.closure(part)))

    def work(self) -> list[Part]:
        """Return every part that some cell or figure needs, in the order of work."""
        items: tuple[Cell | Figure, ...] = (*self.cells, *self.figures)
        keys = dict.fromkeys(key for item in items for key in self.needed(item))
        return [self.parts.all[key] for key in keys]


def minutes_of(plan: Plan, store: Store | None = None) -> list[tuple[str, int, int, float]]:
    """Return (table or figure, cells, parts to do, expected minutes) in the order of work; a part counts where it is
    first needed, and not at all if `store` has it."""
    found: dict[str, list[Cell | Figure]] = {}
    items: tuple[Cell | Figure, ...] = (*plan.cells, *plan.figures)
    for item in items:
        found.setdefault(item.table if isinstance(item, Cell) else item.key, []).append(item)
    seen: set[str] = set()
    rows = []
    for name, members in found.items():
        keys = dict.fromkeys(key for item in members for key in plan.needed(item))
        fresh = [plan.parts.all[key] for key in keys if key not in seen]
        seen |= set(keys)
        left = [part for part in fresh if store is None or not done(part, store)]
        rows.append((name, len(members), len(left), sum(part.seconds for part in left) / 60))
    return rows


def make_plan(grid: Grid, workspace: Workspace) -> Plan:
    """Open the datasets, draw the rows, and list cells, figures and parts; nothing is written.

    Raises:
        FVMError: an unknown name or setting, or a dataset without known clean labels.
    """
    return _Planner(grid, workspace).plan()


class _Planner:
    def __init__(self, grid: Grid, workspace: Workspace) -> None:
        self.grid, self.preset = grid, grid.recipe
        self.settings = grid.settings(workspace)
        self.what = grid.wanted(workspace)
        self.parts = Parts(self.preset, allow_custom=grid.allow_custom)
        self.record = read_record(workspace, grid.model) if grid.model else None
        self.whole = [all_rows(name, open_named(workspace, name)) for name in grid.data]
        for rows in self.whole:
            check_truth(rows)
        self.clean = all_rows(grid.validation, open_named(workspace, grid.validation))
        self.rows: dict[tuple[str, int, int], Rows] = {}

    def plan(self) -> Plan:
        cells = [
            self.cell(table, row, place, seed)
            for table in (TABLES[key] for key in self.what if key in TABLES)
            for place, seed in self.pairs(table)
            for row in table.rows
        ]
        place = primary(self.settings)
        figures = [self.figure(key, place, self.grid.seeds[0]) for key in self.what if key not in TABLES]
        mark = recipe_mark(
            self.preset, validation=self.clean.fingerprint, model=self.record.sha256 if self.record else ""
        )
        return Plan(self.parts, tuple(cells), tuple(figures), tuple(self.rows.values()), mark)

    def pairs(self, table: Table) -> list[tuple[int, int]]:
        """Return (dataset, seed) of a table, all datasets of the first seed before the next seed."""
        places = datasets_for(table, self.settings)
        pairs = [(place, seed) for place in places for seed in self.grid.seeds_of(place, self.settings)]
        return sorted(pairs, key=lambda pair: (self.grid.seeds.index(pair[1]), pair[0]))

    def drawn(self, rows: Rows, size: int | None, seed: int, purpose: int) -> Rows:
        """Return rows drawn by the seed, opened and hashed once."""
        size = min(size or len(rows), len(rows))
        key = (rows.name, size, seed if size < len(rows) else -1)
        if key not in self.rows:
            self.rows[key] = draw(rows, size, seed=seed, purpose=purpose)
        return self.rows[key]

    def training(self, place: int, seed: int) -> Rows:
        return self.drawn(self.whole[place], None if self.record else self.preset.subset, seed, TRAINING)

    def validation(self, seed: int, share: float = 1.0) -> Rows:
        full = min(self.preset.validation or len(self.clean), len(self.clean))
        return self.drawn(self.clean, max(1, round(share * full)), seed, VALIDATION)

    def base(self, place: int, seed: int) -> Model:
        if self.record:
            return self.parts.adopt(self.record)
        return self.parts.train(self.training(place, seed), self.validation(seed), seed=seed)

    def model(self, key: str, place: int, seed: int, share: float = 1.0) -> Model:
        base = self.base(place, seed)
        if key == "base":
            return base
        classes, what = self.whole[place].dataset.num_classes, self.grid.data[place]
        sound = self.validation(seed, share)
        return self.parts.tune(base, sound, solver=SOLVERS[key], seed=seed, classes=classes, what=what)

    def epochs(self, model: Model) -> list[int]:
        """Return the checkpoints that starred forms try."""
        return [epoch for epoch in model.epochs if self.preset.starred is None or epoch in self.preset.starred]

    def cell(self, table: Table, row: Row, place: int, seed: int) -> Cell:
        model = self.model(row.model, place, seed, row.share)
        training, validation = self.training(place, seed), self.validation(seed, row.share)
        epochs: list[int | None] = [*self.epochs(model)] if row.starred else [None]
        candidates = []
        for epoch in epochs:
            part = self.parts.score(
                model, row.method, training, validation, seed=seed, relabel=row.relabel, epoch=epoch
            )
            candidates.append(Candidate(part.key, epoch))
        lacks = (
            "" if candidates else f"`{row.label}` needs checkpoints of the base model's training, but none were kept."
        )
        name, setting = self.grid.data[place], self.settings[place]
        return Cell(
            table.key, row, name, setting, training.fingerprint, seed, len(validation), tuple(candidates), lacks
        )

    def figure(self, key: str, place: int, seed: int) -> Figure:
        training, validation, name = self.training(place, seed), self.validation(seed), self.grid.data[place]
        series: dict[str, str] = {}
        lacks = ""
        if key == "figure1":
            models = {role: self.model(role, place, seed) for role in ("base", "vm", "fvm")}
            series["steps"] = self.parts.steps(models, training, validation, seed=seed).key
        elif key == "figure2":
            base = self.base(place, seed)
            lacks = (
                "" if base.epochs else "Figure 2 needs checkpoints of the base model's training, but none were kept."
            )
            if base.epochs:
                series["accuracy"] = self.parts.accuracy(base, validation, what=name, seed=seed).key
            for epoch in base.epochs:
                for method in ("standard", "tracin"):
                    part = self.parts.score(base, method, training, validation, seed=seed, relabel=True, epoch=epoch)
                    series[f"{method} {epoch}"] = part.key
        else:
            tuned = self.model("fvm", place, seed)
            series["snapshots"] = self.parts.snapshots(tuned, training, validation, seed=seed).key
        return Figure(key, name, self.settings[place], training.fingerprint, seed, series, lacks)
