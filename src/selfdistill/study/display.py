"""What a figure or table is: what it is called, who draws it, and which runs of the listed experiments it shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from selfdistill.study.methods import ON_POLICY
from selfdistill.vocabulary.runs import Run

Source = Literal["experiments", "every run", "section 3", "problem sets"]


@dataclass(frozen=True)
class Display:
    """A figure or table.

    title, place: its title, and its place in the paper.
    draw: `module:function`. The function takes StudyData with the chosen runs and `options`; it returns a figure and its caption, or the
        rows of a table and its note.
    frames: the frames of StudyData that it reads.
    shows: what the study file lists for it. `every run`: an empty list stands for all runs. `section 3` and `problem sets`: the list must be
        empty.
    roles: roles of the models that it shows (vocabulary.roles); every one must have a run.
    compares: run field in which its runs differ; runs without a value there are left out. Without `roles` it shows one model: the one with
        most values, the study's first among equals.
    where: run field -> values; other runs are left out.
    options: keyword arguments of the function.
    curves: the benchmarks that it draws by step: `headline`, `ood` or `all`; none if it shows last steps only.
    """

    title: str
    place: str
    draw: str
    frames: tuple[str, ...] = ("estimates",)
    shows: Source = "experiments"
    roles: tuple[str, ...] = ()
    compares: str = ""
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    curves: Literal["", "headline", "ood", "all"] = ""

    def choose(self, runs: Sequence[Run], roles: Mapping[str, str]) -> tuple[Run, ...]:
        """Return the runs to show out of those of the listed experiments.

        roles: role -> model. Raises LookupError saying what the runs lack.
        """
        chosen = [run for run in runs if self._fits(run)]
        if self.roles:
            chosen = self._of_roles(chosen, roles)
        elif self.compares and chosen:
            model = widest(chosen, self.compares)
            chosen = [run for run in chosen if run.model == model]
        values = {getattr(run, self.compares) for run in chosen} if self.compares else ()
        if len(values) == 1:
            raise LookupError(f"needs two values of `{self.compares}` in one model; found: {values.pop()}")
        return tuple(chosen)

    def _fits(self, run: Run) -> bool:
        """Return whether a run can be shown at all; only on-policy methods record what `training` and `shift` hold."""
        recorded = run.method in ON_POLICY or not {"training", "shift"} & set(self.frames)
        wanted = all(getattr(run, name) in values for name, values in self.where.items())
        return recorded and wanted and not (self.compares and getattr(run, self.compares) == "none")

    def _of_roles(self, runs: Sequence[Run], roles: Mapping[str, str]) -> list[Run]:
        """Return the runs of the models that play the display's roles; raise LookupError for a role without one."""
        trained = {run.model for run in runs}
        for role in self.roles:
            if roles.get(role) not in trained:
                raise LookupError(f"has no run of a model with the role {role} (config/models.yaml)")
        models = [roles[role] for role in self.roles]
        return [run for run in runs if run.model in models]


def widest(runs: Sequence[Run], name: str) -> str:
    """Return the model whose runs have most values of a field, the first among equals."""
    values: dict[str, set[str]] = {}
    for run in runs:
        values.setdefault(run.model, set()).add(getattr(run, name))
    return max(values, key=lambda model: len(values[model]))
