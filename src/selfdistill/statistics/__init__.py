"""Estimates and intervals: the only place of the study that turns samples into numbers.

The input is the samples record (one row per response). The output is tidy: one row per group and metric, with the
interval and the numbers of problems, samples per problem and training seeds. The paper reports neither seeds nor
intervals (paper.md 6).

- avg@k is the mean over problems of the mean over a problem's k samples (the paper's acc@16). pass@j is the
  unbiased estimator of Chen et al. 2021, eq. 1. maj@j is the majority vote over j answers. If a group spans
  several benchmarks, they have equal weight, whatever their sizes.
- Intervals come from a two-level bootstrap: training seeds (if there are several) and problems are both drawn
  with replacement. A problem is drawn with all its samples. Seeds are crossed with problems, so every seed gets
  the same draw of problems. With one seed, an interval covers the variation over problems only, given that
  training run.
- A bootstrap of few seeds is too narrow, and a bootstrap of crossed factors counts their interaction three times
  (Owen 2007). The draws are therefore stretched about the estimate until their interval is as wide as Student's
  interval with the variance of the two-way layout and its Satterthwaite degrees of freedom: the bootstrap gives
  the shape, the layout the width. Three seeds that disagree thus give a wide interval. If they disagree by more
  than ten points of accuracy, its coverage is still only 0.91 (simulated); seed-paired contrasts keep theirs.
- Contrasts are paired by problem: both arms see the same problems and the same draws of them (and of the
  seeds, if both have the same seeds). The p value is twice the smaller tail of the stretched draws, so it
  agrees with the interval.
- `compare` is the general case: any linear contrast of runs, including differences in differences over
  benchmarks. `holm` corrects a family of p values, `sign_flip` is a permutation test beside the bootstrap, and
  `minimum_detectable_effect` tells in advance what a study of a given size can show.

If all responses of a group score the same, its interval has zero width; a group of one problem has no interval (NaN).

Modules, in the order of the data flow: `metrics` (what a metric is made of), `cells` (sums per seed and problem),
`bootstrap` (draws, width, p values), then `groups`, `comparison`, `testing`, `power` and `vocabulary`.
"""

from selfdistill.statistics.bootstrap import student_quantile
from selfdistill.statistics.cells import Cells, CellTable
from selfdistill.statistics.comparison import Arm, Comparison, compare
from selfdistill.statistics.groups import BASE_GROUP, GROUP_COLUMNS, contrasts, estimates, last_step
from selfdistill.statistics.metrics import COLUMN_OF, METRICS, RATIOS, majority_vote, pass_at_k
from selfdistill.statistics.power import minimum_detectable_effect
from selfdistill.statistics.testing import holm, sign_flip
from selfdistill.statistics.vocabulary import group_shifts

__all__ = [
    "Arm",
    "BASE_GROUP",
    "COLUMN_OF",
    "CellTable",
    "Cells",
    "Comparison",
    "GROUP_COLUMNS",
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
    "sign_flip",
    "student_quantile",
]
