"""Training of one run: SFT (section 4), GRPO and SDPO (sections 5 and 6), on TRL's trainers."""

import os

# SDPOTrainer is experimental, but envs/ pins TRL exactly
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
