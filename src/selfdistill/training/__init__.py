"""Training of one run: SFT (section 4), GRPO and SDPO (sections 5 and 6), on TRL's trainers."""

import os

os.environ.setdefault(
    "TRL_EXPERIMENTAL_SILENCE", "1"
)  # SDPOTrainer is experimental; the pin in envs/ is exact
