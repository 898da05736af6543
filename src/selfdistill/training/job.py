"""What a training function is given: one run, where its inputs lie, where its outputs go, and its settings.

Used by the three entry points `sft.train_sft`, `grpo.train_grpo` and `sdpo.train_sdpo`.
"""

from dataclasses import dataclass
from pathlib import Path

from selfdistill.study.training import GrpoSettings, SdpoSettings, SftSettings
from selfdistill.vocabulary.runs import Run

STOP = "STOP"
"""File of the resume folder at which a training stops after its current step (see `resume.StopOnSignal`)."""


@dataclass(frozen=True)
class TrainingJob:
    """One run to train.

    run: the run's fields; base: Hugging Face folder of the initial policy; data: problems parquet (GRPO,
    SDPO) or SFT parquet; output: run folder that receives checkpoints/, training.parquet and
    rollouts.parquet; resume: folder that outlives a killed job; settings: of the run's method and variant
    (`Study.settings_for`); template and thinking: how the family writes its thinking (see
    `selfdistill.models.prompts`); seed: the run's seed, from which every stream is derived by name.
    """

    run: Run
    base: Path
    data: Path
    output: Path
    resume: Path
    settings: SftSettings | GrpoSettings | SdpoSettings
    template: str
    thinking: str
    seed: int
