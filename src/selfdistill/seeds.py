"""Named random streams, all derived from one seed of the study file; nothing is ever seeded from the clock.

Used wherever something is drawn: `derive_seed(run.draw_seed, "rollouts", step)`.
"""

import hashlib

SEEDS = range(1000)
"""Seeds that a replicate can have."""


def draw_seed(replicate: int, seed: int = 0) -> int:
    """Return the number that the random streams of a draw are derived from; what a whole replicate shares is drawn with seed 0.

    >>> draw_seed(2, 7)
    2007
    """
    return len(SEEDS) * replicate + seed


def derive_seed(seed: int, *names: str | int) -> int:
    """A seed in [0, 2**31) for the stream `names` of `seed`; equal arguments give equal seeds, on every
    machine.

    >>> derive_seed(0, "data", 3) == derive_seed(0, "data", 3)
    True
    >>> derive_seed(0, "data", 3) == derive_seed(0, "data", 4)
    False
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 2**31
