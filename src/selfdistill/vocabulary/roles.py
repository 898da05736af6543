"""The roles of the paper's models, which a model of config/models.yaml may declare."""

ROLES = ("deepseek", "qwen3-think", "qwen3-nothink", "olmo3")
"""The model settings of the paper, with one figure each: sections 5.1 (Fig. 3), 5.2 (Fig. 4), 5.3 (Fig. 5), appendix F.3 (Fig. 18)."""
