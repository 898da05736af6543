"""Every path of a study; nothing else in the project builds one.

Paths are relative to the working directory of Snakemake and contain wildcards in braces where a rule asks for a pattern.
"""

import os

from selfdistill.vocabulary.runs import RUN_FIELDS, Run

RUN_PATTERN = "{model}/{method}/{context}/{teacher}/{dataset}/{coverage}/{variant}/seed-{seed}"


def resume_of(path: str) -> str:
    """Return where the job that writes `path` first keeps what it resumes from; Snakemake never deletes it.

    >>> resume_of("results/mini/section-3/r1.parquet")
    'results/mini/resume/section-3/r1'
    """
    results = results_of(path)
    return f"{results}/resume/{os.path.splitext(os.path.relpath(path, results))[0]}"


def results_of(path: str) -> str:
    """Return the folder of a study's results in which `path` lies.

    >>> results_of("results/mini/section-3/r1.parquet")
    'results/mini'
    """
    return "/".join(path.split("/", 2)[:2])


class Paths:
    """Builds the paths of one study.

    A method without arguments gives the pattern with wildcards for its rule.
    """

    def __init__(self, study: str) -> None:
        self.study = study
        self.results = f"results/{study}"
        self.logs = f"logs/{study}"
        self.report = f"{self.results}/report.html"
        self.lock = f"{self.results}/locks/workflow.lock"
        self.warm_log = f"{self.logs}/warm.log"

    def problems(self, split: str = "{split}", name: str = "{name}", coverage: str = "full") -> str:
        """A problem set: `train` or `held-out` (a benchmark), whole (`full`) or a coverage subset."""
        return f"{self.results}/problems/{split}/{name}/{coverage}.parquet"

    def training_problems(self, dataset: str = "{dataset}", coverage: str = "{coverage}") -> str:
        """A training problem set, whole (`full`) or a coverage subset."""
        return self.problems("train", dataset, coverage)

    def benchmark(self, benchmark: str = "{benchmark}") -> str:
        """The problems of a benchmark."""
        return self.problems("held-out", benchmark)

    def base(self, base: str = "{base}") -> str:
        """Folder with a base model as Hugging Face writes it."""
        return f"{self.results}/bases/{base}/model"

    def section_3(self, model: str = "{model}", seed: str | int = "{seed}") -> str:
        """Samples of section 3: one model under every context."""
        return f"{self.results}/section-3/{model}/seed-{seed}.parquet"

    def off_policy(
        self, model: str = "{model}", dataset: str = "{dataset}", context: str = "{context}"
    ) -> str:
        """Off-policy data set of section 4 (a row is a problem with the model's own correct response)."""
        return f"{self.results}/off-policy/{model}/{dataset}/{context}.parquet"

    def off_policy_manifest(self, model: str = "{model}", dataset: str = "{dataset}") -> str:
        """Manifest of a model's off-policy data sets."""
        return f"{self.results}/off-policy/{model}/{dataset}/manifest.json"

    def run(self, run: Run | None = None, **fields: str) -> str:
        """Folder of a run; with `fields` a pattern in which these fields are fixed (`method="grpo"`)."""
        values = {name: f"{{{name}}}" for name in RUN_FIELDS} | fields | (run.fields() if run else {})
        return f"{self.results}/runs/{RUN_PATTERN.format(**values)}"

    def checkpoints(self, run: Run | None = None, **fields: str) -> str:
        """Folder of a run's checkpoints step-{step}/; step 0 is the base and is not stored."""
        return f"{self.run(run, **fields)}/checkpoints"

    def training(self, run: Run | None = None, **fields: str) -> str:
        """Per-step training record of a run."""
        return f"{self.run(run, **fields)}/training.parquet"

    def rollouts(self, run: Run | None = None, **fields: str) -> str:
        """Text of every rollout of a run."""
        return f"{self.run(run, **fields)}/rollouts.parquet"

    def run_manifest(self, run: Run | None = None, **fields: str) -> str:
        """Manifest of a run's training."""
        return self.manifest(self.checkpoints(run, **fields))

    def samples(self, run: Run | None = None, **fields: str) -> str:
        """Samples of all checkpoints of a run on all benchmarks."""
        return f"{self.run(run, **fields)}/samples.parquet"

    def manifest(self, path: str) -> str:
        """Manifest beside the output `path`: x.parquet and x/ both have x.manifest.json."""
        return f"{os.path.splitext(path)[0]}.manifest.json"

    def figure(self, name: str, suffix: str) -> str:
        """A figure (`{figure}` for its rule); suffix `png`, `svg`, `txt` (its caption) or `manifest.json`."""
        return f"{self.results}/figures/{name}.{suffix}"

    def table(self, name: str, suffix: str) -> str:
        """A table (`{table}` for its rule); suffix `csv`, `md`, `html` or `manifest.json`."""
        return f"{self.results}/tables/{name}.{suffix}"

    def regraded(self, grader: str, suffix: str) -> str:
        """What changes when a grader grades all samples again: `md`, every number in `csv`, or `manifest.json`."""
        return f"{self.results}/regraded/{grader}.{suffix}"

    def claims(self, suffix: str) -> str:
        """The claims ledger; suffix `json`, `md`, `html` (a fragment of the report) or `manifest.json`."""
        return f"{self.results}/claims.{suffix}"

    def numbers(self, name: str, model: str = "{model}") -> str:
        """Return a frame of numbers of one model, made from all its samples: `estimates`, `differences` or `shift`."""
        return f"{self.results}/numbers/{model}/{name}.parquet"

    def log(self, rule: str, path: str) -> str:
        """Log of the job of `rule` that writes `path`."""
        return f"{self.logs}/{rule}/{os.path.relpath(os.path.splitext(path)[0], self.results)}.log"
