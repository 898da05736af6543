"""Every figure and table by name: its title, its place in the paper, and the frames that it is drawn from.

`figures` and `tables` draw what is named here, the study file may declare nothing else, and rules/figures.smk
and rules/tables.smk derive their inputs from it. Imports nothing that is slow, because every Snakemake call
reads it. `frames` are fields of `figures.StudyData`; `training` holds the runs of the experiments that the
study file lists for the figure.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Display:
    """A figure or table: title, place in the paper, frames that it needs."""

    title: str
    place: str
    frames: tuple[str, ...]


_CURVES = ("training", "estimates")
_DYNAMICS = ("training", "estimates", "differences")

FIGURES: dict[str, Display] = {
    "figure1": Display("Narrow and broad domain", "section 1", ("training",)),
    "figure3": Display("Training dynamics, DeepSeek-R1-Distill setting", "section 5.1", _DYNAMICS),
    "figure4": Display("Training dynamics, Qwen3 with thinking", "section 5.2", _DYNAMICS),
    "figure5": Display("Training dynamics, Qwen3 without thinking", "section 5.3", _CURVES),
    "figure6": Display("Fixed and moving teacher", "section 5.4", _CURVES),
    "figure7": Display("Coverage: training score and length", "section 6.2", ("training",)),
    "figure8": Display("Coverage: out-of-domain accuracy", "section 6.2", ("estimates",)),
    "figure9": Display("Epistemic words under four contexts", "section 3", ("estimates",)),
    "figure12": Display("Epistemic words against the general vocabulary", "appendix B", ("shift",)),
    "figure15": Display("Hybrid and homogeneous teachers", "appendix E", ("estimates",)),
    "figure18": Display("Training dynamics, Olmo-3 setting", "appendix F", _CURVES),
    "figure19": Display("pass@k of GRPO and SDPO", "appendix F", ("estimates",)),
    "figure20": Display("Top-k and learning rate", "appendix G", _CURVES),
    "figure3-all": Display("DeepSeek-R1-Distill setting", "section 5.1", _CURVES),
    "figure4-all": Display("Qwen3 with thinking", "section 5.2", _CURVES),
    "figure5-all": Display("Qwen3 without thinking", "section 5.3", _CURVES),
    "figure18-all": Display("Olmo-3 setting", "appendix F", _CURVES),
}

TABLES: dict[str, Display] = {
    "table1": Display("Context richness and the base's answers", "section 3", ("estimates",)),
    "table2": Display("Supervised fine-tuning on own correct responses", "section 4", ("estimates",)),
    "table3": Display("Coverage of the training sets", "section 6.1", ("problems",)),
    "main-results": Display("Main results", "sections 4 to 6", ("estimates", "differences")),
}
