"""Does self-distillation degrade reasoning? The library of a Snakemake reproduction of arXiv 2603.24472.

The modules follow the flow of the study: settings, study (what is asked), artifacts (where everything lies),
problems, prompts, generation, grading, epistemic, training, evaluation, statistics, figures, tables, report.
No module imports a later one, none knows of Snakemake, and torch, trl and vllm are imported only by the
modules that need them.
"""

__version__ = "0.1.0"
