"""Every path of a study; no other module builds one.

Paths are relative to the working directory; patterns for rules contain wildcards in braces.
"""

import os
import re
from pathlib import Path

from selfdistill.vocabulary.runs import RUN_FIELDS, Run, Step

Replicate = str | int
"""Number of a replicate, or its wildcard."""
RUN_PATTERN = (
    "{model}/{method}/{context}/{teacher}/{dataset}/{coverage}/{variant}/replicate-{replicate}/seed-{seed}"
)
MANIFESTS = "*manifest.json"
"""Pattern of the names of manifests."""
DIAGNOSED = "diagnosis.csv"
"""File of a study's finished runs: features of the plan, and OOD change, one row per run and draw."""
_RUN_FOLDER = re.compile(
    "/runs/" + RUN_PATTERN.format(**{name: f"(?P<{name}>[^/]+)" for name in RUN_FIELDS}) + "$"
)


def resume_of(path: str) -> str:
    """Return the resume folder of the job whose first output is `path`; Snakemake never deletes it.

    >>> resume_of("results/mini/section-3/r1/replicate-0.parquet")
    'results/mini/resume/section-3/r1/replicate-0'
    """
    results = results_of(path)
    return f"{results}/resume/{os.path.splitext(os.path.relpath(path, results))[0]}"


def results_of(path: str) -> str:
    """Return the results folder of the study that `path` belongs to.

    >>> results_of("results/mini/section-3/r1/replicate-0.parquet")
    'results/mini'
    """
    return "/".join(path.split("/", 2)[:2])


def run_at(folder: str | os.PathLike[str]) -> Run | None:
    """Return the run whose folder this is; None if it is no folder of a run.

    >>> str(run_at("results/mini/runs/r1/grpo/none/none/chain/full/default/replicate-0/seed-1"))
    'r1/grpo/none/none/chain/full/default/0/1'
    """
    found = _RUN_FOLDER.search(Path(folder).as_posix())
    return Run.from_fields(found.groupdict()) if found else None


class Paths:
    """The paths of one study. A method called without arguments returns a pattern with wildcards."""

    def __init__(self, study: str) -> None:
        self.study = study
        self.results = f"results/{study}"
        self.logs = f"logs/{study}"
        self.report = f"{self.results}/report.html"
        self.diagnosed = f"{self.results}/{DIAGNOSED}"
        self.lock = f"{self.results}/locks/workflow.lock"
        self.warm_log = f"{self.logs}/warm.log"

    def problems(
        self,
        split: str = "{split}",
        name: str = "{name}",
        replicate: Replicate = "{replicate}",
        coverage: str = "full",
    ) -> str:
        """Return the path of a problem set; split: `train` or `held-out` (benchmarks); coverage: `full` or a subset."""
        return f"{self.results}/problems/{split}/{name}/replicate-{replicate}/{coverage}.parquet"

    def training_problems(
        self,
        dataset: str = "{dataset}",
        replicate: Replicate = "{replicate}",
        coverage: str = "{coverage}",
    ) -> str:
        """Return the path of a training problem set; coverage: `full` or a subset."""
        return self.problems("train", dataset, replicate, coverage)

    def benchmark(self, benchmark: str = "{benchmark}") -> str:
        """Return the path of a benchmark's problems, the same for all replicates."""
        return self.problems("held-out", benchmark, 0)

    def base(self, base: str = "{base}", replicate: Replicate = "{replicate}") -> str:
        """Return the folder of a base model, in Hugging Face's format."""
        return f"{self.results}/bases/{base}/replicate-{replicate}/model"

    def section_3(self, model: str = "{model}", replicate: Replicate = "{replicate}") -> str:
        """Return the path of a model's samples for section 3, under all contexts."""
        return f"{self.results}/section-3/{model}/replicate-{replicate}.parquet"

    def richness(self, model: str = "{model}", replicate: Replicate = "{replicate}") -> str:
        """Return the path of the information of section 3's contexts about a model's correct responses."""
        return f"{self.results}/richness/{model}/replicate-{replicate}.parquet"

    def diagnosis(self, run: Run | None = None) -> str:
        """Return the path of the features of a planned run, measured on its base."""
        return f"{self.run(run).replace('/runs/', '/diagnosis/')}.parquet"

    def off_policy(
        self,
        model: str = "{model}",
        dataset: str = "{dataset}",
        replicate: Replicate = "{replicate}",
        context: str = "{context}",
    ) -> str:
        """Return the path of an off-policy data set of section 4 (rows: problems with the model's own correct response)."""
        return f"{self.results}/off-policy/{model}/{dataset}/replicate-{replicate}/{context}.parquet"

    def off_policy_matched(
        self,
        model: str = "{model}",
        dataset: str = "{dataset}",
        replicate: Replicate = "{replicate}",
        context: str = "{context}",
    ) -> str:
        """Return the path of an off-policy data set that is cut to the tokens of the shortest."""
        whole = self.off_policy(model, dataset, replicate, context)
        return f"{os.path.dirname(whole)}/equal-tokens/{os.path.basename(whole)}"

    def off_policy_manifest(
        self, model: str = "{model}", dataset: str = "{dataset}", replicate: Replicate = "{replicate}"
    ) -> str:
        """Return the path of the manifest of a model's off-policy data sets."""
        return f"{self.results}/off-policy/{model}/{dataset}/replicate-{replicate}/manifest.json"

    def run(self, run: Run | None = None) -> str:
        """Return the folder of a run, or the pattern of all."""
        values = run.fields() if run else {name: f"{{{name}}}" for name in RUN_FIELDS}
        return f"{self.results}/runs/{RUN_PATTERN.format(**values)}"

    def checkpoints(self, run: Run | None = None) -> str:
        """Return the folder of a run's checkpoints step-{step}/; step 0 is the base and is not stored."""
        return f"{self.run(run)}/checkpoints"

    def training(self, run: Run | None = None) -> str:
        """Return the path of a run's training record (rows: steps)."""
        return f"{self.run(run)}/training.parquet"

    def rollouts(self, run: Run | None = None) -> str:
        """Return the path of a run's rollouts."""
        return f"{self.run(run)}/rollouts.parquet"

    def run_manifest(self, run: Run | None = None) -> str:
        """Return the path of the manifest of a run's training."""
        return self.manifest(self.checkpoints(run))

    def samples(self, run: Run | None = None, step: Step | str = "{step}") -> str:
        """Return the path of the samples of one checkpoint of a run."""
        return f"{self.run(run)}/samples/step-{step}.parquet"

    def intervention(self, run: Run | None = None, intervention: str = "{intervention}") -> str:
        """Return the path of the samples of a run after training under an intervention on the epistemic words."""
        return f"{self.run(run)}/interventions/{intervention}.parquet"

    def manifest(self, path: str) -> str:
        """Return the path of an output's manifest: x.manifest.json beside x.parquet or x/."""
        return f"{os.path.splitext(path)[0]}.manifest.json"

    def figure(self, name: str, suffix: str) -> str:
        """Return the path of a figure; suffix: `png`, `svg`, `txt` (its caption) or `manifest.json`."""
        return f"{self.results}/figures/{name}.{suffix}"

    def table(self, name: str, suffix: str) -> str:
        """Return the path of a table; suffix: `csv`, `md`, `html` or `manifest.json`."""
        return f"{self.results}/tables/{name}.{suffix}"

    def regraded(self, grader: str, suffix: str) -> str:
        """What changes when a grader grades all samples again: `md`, every number in `csv`, or `manifest.json`."""
        return f"{self.results}/regraded/{grader}.{suffix}"

    def claims(self, suffix: str) -> str:
        """Return the path of the claims ledger; suffix: `json`, `md`, `html` (a part of the report) or `manifest.json`."""
        return f"{self.results}/claims.{suffix}"

    def overview(self, suffix: str) -> str:
        """Return the path of the picture of the ledger; suffix: as of a figure, or `narrow.png` and `narrow.svg` for small screens."""
        return self.figure("overview", suffix)

    def numbers(self, name: str, model: str = "{model}") -> str:
        """Return the path of a frame computed from all samples of a model: `estimates`, `differences`, `shift` or `draws`."""
        return f"{self.results}/numbers/{model}/{name}.parquet"

    def log(self, rule: str, path: str) -> str:
        """Return the path of the log of the job of `rule` that writes `path`."""
        return f"{self.logs}/{rule}/{os.path.relpath(os.path.splitext(path)[0], self.results)}.log"
