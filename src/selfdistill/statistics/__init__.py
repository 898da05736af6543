"""Estimates and intervals: the only place of the study that turns samples into numbers.

The input is the samples record (one row per response). The output is tidy: one row per group and metric, with the
interval and the numbers of problems, samples per problem, replicates and seeds. The paper reports neither seeds nor
intervals (paper.md 6).

- avg@k is the mean over problems of the mean over a problem's k samples (the paper's acc@16). pass@j is the
  unbiased estimator of Chen et al. 2021, eq. 1. maj@j is the majority vote over j answers. If a group spans
  several benchmarks, they have equal weight, whatever their sizes.
- Problems are crossed with *draws*: replicates (each a draw of base, data and seeds; its seeds are averaged) if there are
  several, else the seeds of one base. The variance of an effect is that of its mean over draws, which holds the sampling
  of responses, and what problems add beyond that sampling. With one draw it is the variance over problems alone.
- Two or three draws tell little about how much draws differ. Their variance, as a multiple of the sampling noise, is
  therefore pooled with that of other contrasts of the same metric, weighted by degrees of freedom (at most ten from
  others), as limma does for genes (Smyth 2004). Contrasts that share their draws count as one: with replicates, the runs of
  one base; with seeds, the steps and benchmarks of one run.
- Intervals and p values are those of Student's distribution, with Satterthwaite's degrees of freedom. Ratios are
  linearised. docs/statistics.md shows coverage, error rates and power, simulated.
- Contrasts are paired by problem and by draw: both arms see the same problems and come from the same bases.
- `compare` is the general case: any linear contrast of runs, ratios of two, means of those over models; `pooled` joins
  several. `holm` corrects a family of p values. `minimum_detectable_effect` tells in advance what a study of a given size can
  show.

If all responses of a group score the same, its interval has zero width; a group of one problem has no interval (NaN).

Modules, in the order of the data flow: `metrics` (what a metric is made of), `cells` (sums per draw and problem),
`student` (variances, intervals, p values), then `groups`, `comparison`, `testing`, `power`, `vocabulary`, `richness`,
`interventions`, `screening`, `prediction` and `simulation`.
"""

from selfdistill.statistics.cells import Cells, CellTable, NoContrast
from selfdistill.statistics.comparison import Arm, Comparison, compare, pooled
from selfdistill.statistics.groups import (
    BASE_GROUP,
    GROUP_COLUMNS,
    contrasts,
    estimates,
    last_step,
    with_common_end,
)
from selfdistill.statistics.interventions import INTERVENTION_GROUP, intervention_estimates
from selfdistill.statistics.metrics import COLUMN_OF, METRICS, RATIOS, majority_vote, pass_at_k
from selfdistill.statistics.power import lent_freedom, minimum_detectable_effect
from selfdistill.statistics.richness import richness_estimates
from selfdistill.statistics.testing import holm
from selfdistill.statistics.vocabulary import group_shifts

__all__ = [
    "Arm",
    "BASE_GROUP",
    "COLUMN_OF",
    "CellTable",
    "Cells",
    "Comparison",
    "GROUP_COLUMNS",
    "INTERVENTION_GROUP",
    "METRICS",
    "NoContrast",
    "RATIOS",
    "compare",
    "contrasts",
    "estimates",
    "group_shifts",
    "holm",
    "intervention_estimates",
    "last_step",
    "lent_freedom",
    "majority_vote",
    "minimum_detectable_effect",
    "pass_at_k",
    "pooled",
    "richness_estimates",
    "with_common_end",
]
