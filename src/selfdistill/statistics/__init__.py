"""Estimates and intervals: the only place of the study that turns samples into a number.

Input is the samples record (one row a response); output is tidy, one row a group and metric, each number with
its interval, number of problems, samples a problem and training seeds. The paper reports neither seeds nor
intervals (paper.md section 6).

- avg@k is the mean over problems of the mean over a problem's k samples (the paper's acc@16); pass@j is the
  unbiased estimate of Chen et al. 2021, eq. 1; maj@j is the majority vote over j answers. Where a group spans
  several benchmarks they weigh the same, whatever their sizes.
- Intervals come from a two-level bootstrap: training seeds (where there are several) and problems are both
  drawn with replacement, a problem with all its samples and, seeds being crossed with problems, the same draw
  of problems for every seed. With one seed an interval speaks about problems only, given that training run.
- A bootstrap of few seeds is too narrow, and one of crossed factors counts their interaction three times
  (Owen 2007). So the draws are stretched about the estimate until their interval is as wide as Student's with
  the variance of the two-way layout and its Satterthwaite degrees of freedom: the bootstrap gives the shape,
  the layout the width. Three seeds that disagree therefore give a wide interval; where they disagree by
  more than ten points of accuracy it still covers only 0.91 (simulated), while seed-paired contrasts hold.
- Contrasts are paired by problem: both arms see the same problems and the same draws of them (and of the
  seeds, when both have the same seeds). The p value is twice the smaller tail of the stretched draws, so it
  agrees with the interval.
- `compare` is the general case: any linear contrast of runs, differences in differences over benchmarks
  included. `holm` corrects a family of p values, `sign_flip` is a permutation check beside the bootstrap, and
  `minimum_detectable_effect` says beforehand what a planned size can show.

A group whose responses are all alike has an interval of no width; a group of one problem has none (NaN).

Modules, down the flow: `metrics` (what a metric is made of), `cells` (samples to sums per seed and problem),
`bootstrap` (draws, width, p values), then `groups`, `comparison`, `testing`, `power` and `vocabulary`.
"""

from selfdistill.statistics.bootstrap import student_quantile
from selfdistill.statistics.cells import Cells, CellTable
from selfdistill.statistics.comparison import Arm, Comparison, compare
from selfdistill.statistics.groups import BASE, BY, contrasts, estimates, last_step
from selfdistill.statistics.metrics import COLUMN_OF, METRICS, RATIOS, majority_vote, pass_at_k
from selfdistill.statistics.power import minimum_detectable_effect, planned_effects
from selfdistill.statistics.testing import holm, sign_flip
from selfdistill.statistics.vocabulary import group_shifts

__all__ = [
    "Arm",
    "BASE",
    "BY",
    "COLUMN_OF",
    "CellTable",
    "Cells",
    "Comparison",
    "METRICS",
    "RATIOS",
    "compare",
    "contrasts",
    "estimates",
    "group_shifts",
    "holm",
    "last_step",
    "majority_vote",
    "minimum_detectable_effect",
    "pass_at_k",
    "planned_effects",
    "sign_flip",
    "student_quantile",
]
