"""The registry of figures and tables: each is declared here, once, and nowhere else.

The study file may name only what is registered here; its experiments decide which runs a figure or table shows
(`study.shown`). Rules, inputs, report and named targets follow from the entry. To add a figure: write its drawing function, add an entry,
list its experiments in the study file. Every Snakemake call reads this module, so it imports nothing slow: `draw` is the name of a function.
"""

import re

from selfdistill.study.display import Display
from selfdistill.study.methods import METHODS


def heading(name: str, title: str) -> str:
    """Return the title of a figure or table with its number in the paper, if it has one."""
    numbered = re.fullmatch(r"(figure|table)(\d+)(-all)?", name)
    if numbered is None:
        return title
    kind, number, every = numbered.groups()
    return f"{kind.capitalize()} {number}{', all benchmarks' if every else ''}. {title}"


_FIGURES, _TABLES = "selfdistill.report.figures", "selfdistill.report.tables"
_DYNAMICS = f"{_FIGURES}.dynamics:draw_dynamics"
_ALL_BENCHMARKS = f"{_FIGURES}.dynamics:draw_all_benchmarks"
_CURVES = ("training", "estimates")
_WORDS = ("training", "estimates", "differences")
_TAUGHT = {"method": tuple(name for name, method in METHODS.items() if method.has_teacher)}
_SHORT = {"words": False, "benchmarks": 1}

FIGURES: dict[str, Display] = {
    "figure1": Display(
        "Narrow and broad domain",
        "section 1",
        f"{_FIGURES}.dynamics:draw_domains",
        ("training",),
        compares="dataset",
        where={"context": ("none", "solution")},
    ),
    "figure3": Display(
        "Training dynamics, DeepSeek-R1-Distill setting",
        "section 5.1",
        _DYNAMICS,
        (*_WORDS, "reported"),
        roles=("deepseek",),
        options={"paper": "figure3"},
        curves="headline",
    ),
    "figure4": Display(
        "Training dynamics, Qwen3 with thinking",
        "section 5.2",
        _DYNAMICS,
        _WORDS,
        roles=("qwen3-think",),
        curves="headline",
    ),
    "figure5": Display(
        "Training dynamics, Qwen3 without thinking",
        "section 5.3",
        _DYNAMICS,
        _CURVES,
        roles=("qwen3-nothink",),
        options=_SHORT,
        curves="headline",
    ),
    "figure6": Display(
        "Fixed and moving teacher",
        "section 5.4",
        f"{_FIGURES}.settings:draw_teachers",
        _CURVES,
        compares="teacher",
        curves="headline",
    ),
    "figure7": Display(
        "Coverage: training score and length",
        "section 6.2",
        f"{_FIGURES}.coverage:draw_coverage_in_training",
        ("training", "reported"),
        compares="coverage",
        options={"paper": "figure7"},
    ),
    "figure8": Display(
        "Coverage: out-of-domain accuracy",
        "section 6.2",
        f"{_FIGURES}.coverage:draw_coverage_out_of_domain",
        ("estimates", "reported"),
        compares="coverage",
        options={"paper": "figure8"},
        curves="ood",
    ),
    "figure9": Display(
        "Epistemic words under four contexts",
        "section 3",
        f"{_FIGURES}.words:draw_words_by_context",
        ("estimates", "reported"),
        shows="section 3",
        options={"paper": "figure9"},
    ),
    "figure12": Display(
        "Epistemic words against the general vocabulary",
        "appendix B",
        f"{_FIGURES}.words:draw_word_shifts",
        ("shift",),
    ),
    "figure15": Display(
        "Hybrid and homogeneous teachers",
        "appendix E",
        f"{_FIGURES}.settings:draw_hybrid_teachers",
        roles=("qwen3-nothink", "qwen3-think"),
        compares="variant",
        curves="headline",
    ),
    "figure18": Display(
        "Training dynamics, Olmo-3 setting",
        "appendix F",
        _DYNAMICS,
        _CURVES,
        roles=("olmo3",),
        options=_SHORT,
        curves="headline",
    ),
    "figure19": Display(
        "pass@k of GRPO and SDPO",
        "appendix F",
        f"{_FIGURES}.settings:draw_pass_at_k",
        roles=("deepseek", "qwen3-think"),
        curves="headline",
    ),
    "figure20": Display(
        "Top-k and learning rate",
        "appendix G",
        f"{_FIGURES}.settings:draw_ablation",
        _CURVES,
        compares="variant",
        curves="headline",
    ),
    "dose-response": Display(
        "Measured richness against the base's answers and the change by SDPO",
        "not in the paper (sections 3 and 5)",
        f"{_FIGURES}.richness:draw_dose_response",
        ("estimates", "differences", "richness"),
        shows="section 3",
    ),
    "prediction": Display(
        "OOD change as predicted before training, and as measured",
        "not in the paper",
        f"{_FIGURES}.prediction:draw_prediction",
        ("diagnosis",),
        where=_TAUGHT,
    ),
    "figure3-all": Display(
        "DeepSeek-R1-Distill setting", "section 5.1", _ALL_BENCHMARKS, roles=("deepseek",), curves="all"
    ),
    "figure4-all": Display(
        "Qwen3 with thinking", "section 5.2", _ALL_BENCHMARKS, roles=("qwen3-think",), curves="all"
    ),
    "figure5-all": Display(
        "Qwen3 without thinking", "section 5.3", _ALL_BENCHMARKS, roles=("qwen3-nothink",), curves="all"
    ),
    "figure18-all": Display("Olmo-3 setting", "appendix F", _ALL_BENCHMARKS, roles=("olmo3",), curves="all"),
}

TABLES: dict[str, Display] = {
    "table1": Display(
        "Context richness and the base's answers",
        "section 3",
        f"{_TABLES}.results:contexts_table",
        shows="section 3",
    ),
    "richness": Display(
        "What contexts tell about the base's correct responses",
        "not in the paper (section 3)",
        f"{_TABLES}.richness:richness_table",
        ("richness",),
        shows="section 3",
    ),
    "table2": Display(
        "Supervised fine-tuning on own correct responses",
        "section 4",
        f"{_TABLES}.results:fine_tuning_table",
    ),
    "table3": Display(
        "Coverage of the training sets",
        "section 6.1",
        f"{_TABLES}.problem_sets:problem_sets_table",
        ("problems",),
        shows="problem sets",
    ),
    "interventions": Display(
        "Interventions on the epistemic words",
        "not in the paper (section 5)",
        f"{_TABLES}.interventions:interventions_table",
        ("interventions",),
    ),
    "diagnosis": Display(
        "How well a run's OOD change is predicted before training",
        "not in the paper",
        f"{_TABLES}.diagnosis:diagnosis_table",
        ("diagnosis",),
        where=_TAUGHT,
    ),
    "draws": Display(
        "Every draw of the bases",
        "not in the paper",
        f"{_TABLES}.draws:draws_table",
        ("draws",),
    ),
    "screening": Display(
        "Screening at equal steps and at equal sampled tokens",
        "not in the paper (sections 5 and 6)",
        f"{_TABLES}.screening:screening_table",
        ("training", "estimates", "screening"),
    ),
    "main-results": Display(
        "Main results",
        "sections 4 to 6",
        f"{_TABLES}.results:main_results_table",
        ("estimates", "differences"),
        shows="every run",
    ),
}


def display_of(name: str) -> Display:
    """Return the entry of a figure or table."""
    return FIGURES[name] if name in FIGURES else TABLES[name]
