"""Progress of a job: `<resume>/progress.json`, which `make status` shows."""

import json
from pathlib import Path

from selfdistill.records.files import Damaged, read_json, write_text

PROGRESS = "progress.json"


def write_progress(resume: Path, *, step: int, steps: int, seconds: float, first: int = 0) -> float:
    """Write `<resume>/progress.json` and return the estimated remaining time in seconds.

    step, steps: steps done and in total; first: steps done before this process resumed; seconds: time of this process.
    """
    eta = seconds / max(step - first, 1) * (steps - step)
    progress = {"step": step, "steps": steps, "seconds": round(seconds, 1), "eta": round(eta, 1)}
    write_text(resume / PROGRESS, json.dumps(progress), durable=False)
    return eta


def read_progress(resume: Path) -> dict[str, float]:
    """Return what `write_progress` wrote; empty if the file is missing or incomplete."""
    try:
        return read_json(resume / PROGRESS)
    except (FileNotFoundError, Damaged):
        return {}
