"""Progress of a job: `<resume>/progress.json`, which `make status` reads."""

import json
from pathlib import Path

from selfdistill.records.files import Damaged, read_json, write_text

PROGRESS = "progress.json"


def write_progress(resume: Path, *, step: int, steps: int, seconds: float, first: int = 0) -> float:
    """Write `<resume>/progress.json` and return the estimated seconds left.

    step of steps are done, those after `first` (where a resume began) in `seconds` by this process.
    """
    eta = seconds / max(step - first, 1) * (steps - step)
    progress = {"step": step, "steps": steps, "seconds": round(seconds, 1), "eta": round(eta, 1)}
    write_text(resume / PROGRESS, json.dumps(progress), durable=False)
    return eta


def read_progress(resume: Path) -> dict[str, float]:
    """Return what `write_progress` wrote; empty where nothing was written yet, or not to its end."""
    try:
        return read_json(resume / PROGRESS)
    except (FileNotFoundError, Damaged):
        return {}
