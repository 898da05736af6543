"""Write the tables of docs/statistics.md: coverage, error rates and power of the intervals, simulated.

    python benchmarks/interval_tables.py     # three minutes; the tables go to standard output

Simulated are 20,000 studies per row (selfdistill.statistics.simulation): three models with six runs each, judged together.
"""

from dataclasses import replace

import numpy as np

from selfdistill.statistics.simulation import Setting, contrasts, judged

STUDIES = 20_000
CLAUSES = 16
"""Clauses of the largest family of claims."""
CALIBRATION = {
    "1 base x 3 seeds, k = 2": Setting(3, 0.0, 1.0, 3.6),
    "1 base x 3 seeds, k = 8": Setting(3, 0.0, 1.0, 1.8),
    "3 bases x 1 seed, k = 2": Setting(3, 1.9, 1.0, 3.6),
    "3 bases x 1 seed, k = 8": Setting(3, 1.9, 1.0, 1.8),
    "3 bases that do not differ, k = 2": Setting(3, 1e-9, 0.0, 3.6),
    "3 bases that differ by 7 points": Setting(3, 7.0, 2.0, 1.8),
    "3 bases x 2 seeds, k = 8": Setting(3, 1.9, 0.7, 1.3),
    "5 bases x 1 seed, k = 8": Setting(5, 1.9, 1.0, 1.8),
    "2 bases x 1 seed, k = 8": Setting(2, 1.9, 1.0, 1.8),
}
OOD = Setting(3, 1.5, 0.7, 1.1, problem=0.5)
"""The mean over three benchmarks with k = 8."""
DESIGNS = {
    "1 base x 3 seeds (given the base)": {"draws": 3, "base": 0.0},
    "3 bases x 1 seed": {"draws": 3},
    "3 bases x 2 seeds": {"draws": 3, "seed": 0.5, "noise": 0.8},
    "5 bases x 1 seed": {"draws": 5},
    "10 bases x 1 seed": {"draws": 10},
    "10 bases x 2 seeds": {"draws": 10, "seed": 0.5, "noise": 0.8},
}
EFFECTS = (2, 3, 5, 8, 12)


def line(*cells: object) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def calibration(setting: Setting) -> list[str]:
    """Return coverage, half-width, error rates at two levels and family-wise error of a setting, as text."""
    found = judged(contrasts(setting, STUDIES), setting.units)
    low, high = found.interval()
    p_value = found.p_above().reshape(STUDIES, -1)
    family = np.mean((p_value <= 0.025 / p_value.shape[1]).any(axis=1))
    rates = [np.mean(p_value <= level) / level for level in (0.025, 0.025 / CLAUSES)]
    covered = np.mean((low <= 0) & (high >= 0))
    return [
        f"{covered:.3f}",
        f"{np.mean(high - low) / 2:.1f}",
        *(f"{rate:.2f}" for rate in rates),
        f"{family:.3f}",
    ]


def power(setting: Setting) -> list[str]:
    """Return the share of found effects at 0.025 and at Holm's first step, per effect, as text."""
    found = (judged(contrasts(setting, STUDIES // 4, effect), setting.units) for effect in EFFECTS)
    values = [one.p_above() for one in found]
    return [f"{np.mean(p <= 0.025):.2f} ({np.mean(p <= 0.025 / CLAUSES):.2f})" for p in values]


def main() -> None:
    """Print the tables."""
    heads = ("design", "coverage", "half-width", "error at 0.025", f"at 0.025/{CLAUSES}", "family of 18")
    for title, unlike in (("like", 0.0), ("unlike", 0.5)):
        print(f"\nruns of {title} variance\n\n{line(*heads)}\n{line(*['---'] * len(heads))}")
        for name, setting in CALIBRATION.items():
            print(line(name, *calibration(replace(setting, unlike=unlike))))
    heads = ("design", *(f"{effect} points" for effect in EFFECTS))
    print(f"\npower\n\n{line(*heads)}\n{line(*['---'] * len(heads))}")
    for name, changed in DESIGNS.items():
        print(line(name, *power(replace(OOD, **changed))))


if __name__ == "__main__":
    main()
