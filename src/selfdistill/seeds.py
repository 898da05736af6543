"""Named random streams, all derived from one seed of the study file; nothing is ever seeded from the clock.

Used wherever something is drawn: `derive_seed(run.draw_seed, "rollouts", step)`.
"""

import hashlib


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
