"""What the jobs of a study took, per stage, from their manifests; `plan --measured FILE` computes with it.

`python -m selfdistill.commands.measure --study smoke_gpu [--output measured.json]`, in the root of the repository, after the study has
run on the machine that a larger one will use. Seconds are those of whole jobs, start-up included, so that short jobs make the
plan too long rather than too short.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from selfdistill.commands.costs import Assumptions, CostModel, gpu_hours
from selfdistill.commands.options import refusing
from selfdistill.commands.ranges import Range
from selfdistill.commands.status import expected_jobs
from selfdistill.records.files import read_json, write_text
from selfdistill.records.paths import Paths
from selfdistill.study.jobs import sample_files
from selfdistill.study.load import study_from_config
from selfdistill.study.methods import METHODS, ON_POLICY
from selfdistill.study.study import Study
from selfdistill.vocabulary.runs import Run

ALL = Range(1.0, 1.0, 1.0)
"""The whole peak of a GPU."""


class NothingMeasured(RuntimeError):
    """A study of which no job has finished that tells what a larger study would take."""


def read_manifest(path: str) -> Mapping[str, Any] | None:
    """Return a manifest, None if the job has not finished."""
    return read_json(Path(path)) if Path(path).exists() else None


def stage_of(manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return jobs, seconds, tokens, tokens per second and largest peaks of the finished jobs of a rule."""
    seconds = sum(manifest["wall_seconds"] for manifest in manifests)
    tokens = sum(manifest["tokens"] or 0 for manifest in manifests)
    device_peaks = [
        peak for manifest in manifests if (peak := manifest.get("peak_gpu_memory_mb")) is not None
    ]
    return {
        "jobs": len(manifests),
        "seconds": round(seconds, 1),
        "tokens": tokens or None,
        "tokens_per_second": round(tokens / seconds, 1) if tokens and seconds else None,
        "peak_memory_mb": max(manifest["peak_memory_mb"] for manifest in manifests),
        "peak_gpu_memory_mb": max(device_peaks, default=None),
    }


def stages(study: Study) -> dict[str, dict[str, Any]]:
    """Return rule -> `stage_of` its finished jobs."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in expected_jobs(study):
        if manifest := read_manifest(entry.manifest):
            found[manifest["rule"]].append(manifest)
    return {rule: stage_of(manifests) for rule, manifests in found.items()}


def one_pass(model: CostModel, run: Run, tokens: int, responses: int) -> float:
    """Return the GPU-hours of a forward pass over a run's tokens at the whole peak."""
    length = ALL.times(tokens / responses)
    return gpu_hours(model.size(run.model), ALL.times(tokens), length, 1, model.assumed.peak_tflops, ALL).mid


def evaluations(study: Study) -> Iterator[tuple[Run, Mapping[str, Any], int]]:
    """Yield (run, manifest, number of responses) of every finished evaluation."""
    from pyarrow.parquet import read_metadata

    paths = Paths(study.name)
    for run in study.base_runs() + study.runs():
        for path in sample_files(study, paths, [run]):
            if manifest := read_manifest(paths.manifest(path)):
                yield run, manifest, read_metadata(path).num_rows


def decoding_share(study: Study, model: CostModel) -> float | None:
    """Return the share of the peak at which the finished evaluations decoded, None without any."""
    ideal = taken = 0.0
    gpus = max(study.resources_for("evaluate").gpus, 1)
    for run, manifest, responses in evaluations(study):
        ideal += one_pass(model, run, manifest["tokens"], responses)
        taken += gpus * manifest["wall_seconds"] / 3600
    return ideal / taken if taken else None


def training_share(study: Study, model: CostModel, decoding: float) -> float | None:
    """Return the share of the peak at which the finished on-policy runs trained, None if their decoding explains all their time."""
    ideal = taken = 0.0
    whole = CostModel(study, replace(model.assumed, training_utilisation=ALL))
    for run in study.runs(methods=ON_POLICY):
        if manifest := read_manifest(Paths(study.name).run_manifest(run)):
            settings, tokens = study.settings_for(run), manifest["tokens"]
            responses = settings.steps * settings.prompts * settings.rollouts
            gpus = max(study.resources_for(METHODS[run.method].stage).gpus, 1)
            decoded = one_pass(model, run, tokens, responses) / decoding
            ideal += whole.updates(run, ALL.times(tokens), ALL.times(tokens / responses)).mid
            taken += gpus * manifest["wall_seconds"] / 3600 - decoded
    return ideal / taken if taken > 0 else None


def measured(study: Study) -> dict[str, Any]:
    """Return what a study's finished jobs took, and the assumptions of `plan` that follow; raise NothingMeasured without an evaluation."""
    model = CostModel(study, Assumptions())
    decoding = decoding_share(study, model)
    if decoding is None:
        raise NothingMeasured(f"{study.path}: no evaluation has finished in {Paths(study.name).results}")
    shares = {
        "decoding_utilisation": decoding,
        "training_utilisation": training_share(study, model, decoding),
    }
    known = {name: share for name, share in shares.items() if share}
    devices = {manifest["device"] for _, manifest, _ in evaluations(study)}
    return {
        "study": study.name,
        "device": ", ".join(sorted(devices)),
        "stages": stages(study),
        "assumptions": {"peak_tflops": model.assumed.peak_tflops, **known},
    }


def read_measured(path: str) -> dict[str, Any]:
    """Return the assumptions of a measured file as `plan` takes them; raise ValueError for another file."""
    found = read_json(Path(path)).get("assumptions")
    if not found or set(found) - set(Assumptions.__dataclass_fields__):
        raise ValueError(f"{path}: must be a file of `python -m selfdistill.commands.measure`")
    return {
        name: float(value) if name == "peak_tflops" else ALL.times(value) for name, value in found.items()
    }


@refusing
def main(arguments: Sequence[str] | None = None) -> None:
    """Print what was measured, and write it to a file."""
    parser = argparse.ArgumentParser(prog="python -m selfdistill.commands.measure", description=__doc__)
    parser.add_argument(
        "--study", default="smoke_gpu", help="name of the finished study, or path of its file"
    )
    parser.add_argument("--output", help="file to write (default: measured.json in the study's results)")
    options = parser.parse_args(arguments)
    study = study_from_config({"study": options.study})
    text = json.dumps(measured(study), indent=1) + "\n"
    write_text(options.output or f"{Paths(study.name).results}/measured.json", text)
    print(text, end="")


if __name__ == "__main__":
    main()
