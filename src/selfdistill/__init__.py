"""Does self-distillation degrade reasoning? The library of a Snakemake reproduction of arXiv 2603.24472.

docs/architecture.md names its rooms and who may import whom.
"""

__version__ = "0.1.0"
