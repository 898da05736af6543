"""Progress of a job: `<resume>/progress.json`, which `make status` reads."""

import json
from pathlib import Path

from selfdistill.records.files import write_text


def write_progress(resume: Path, *, step: int, steps: int, seconds: float, first: int = 0) -> float:
    """Write `<resume>/progress.json` and return the estimated seconds left.

    step of steps are done, those after `first` (where a resume began) in `seconds` by this process.
    """
    eta = seconds / max(step - first, 1) * (steps - step)
    progress = {"step": step, "steps": steps, "seconds": round(seconds, 1), "eta": round(eta, 1)}
    write_text(resume / "progress.json", json.dumps(progress))
    return eta
