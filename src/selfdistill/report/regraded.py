"""All stored samples of a study graded again by another grader, without a model: every number and verdict that changes.

Written are results/STUDY/regraded/GRADER.md (what changes) and .csv (every number). Samples under
interventions change claims only. Rollouts keep their scores: they are what the policy was trained on.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from types import SimpleNamespace

import pandas as pd

from selfdistill.claims.judge import Frames, judge_parts
from selfdistill.claims.ledger import Ledger, ledger_of
from selfdistill.claims.selection import PlannedPart, needed_files, plan_claims
from selfdistill.claims.verdicts import ClaimResult, judge_claims
from selfdistill.grading.graders import Grader
from selfdistill.problems.problem import read_problems
from selfdistill.records.files import read_table, write_text
from selfdistill.records.outcomes import outcome_shares
from selfdistill.records.paths import Paths
from selfdistill.records.schemas import samples_schema
from selfdistill.records.task import Facts, Task, job
from selfdistill.report.loading import claim_frames
from selfdistill.sampling.regrading import NUMBER, numbers_of, problems_by_id, regrade
from selfdistill.study.jobs import graded_files, problem_files
from selfdistill.study.load import load_study
from selfdistill.study.study import Study


def grade_again(study: Study, grader: str) -> dict[str, int]:
    """Write the two files of a study and a grader; return the number of responses, and of those, numbers and claims that change."""
    paths = Paths(study.name)
    problems = {
        name: problems_by_id(chain.from_iterable(map(read_problems, files)))
        for name, files in problem_files(study, paths).items()
    }
    ledger = ledger_of(study)
    parts = plan_claims(ledger, study)
    inputs = needed_files(parts, study, paths)
    plain, under = graded_files(study, paths), inputs["interventions"]
    with Grader(grader) as own:
        graded = {
            file: regrade(read_table(file, samples_schema()), problems, own) for file in (*plain, *under)
        }
    frame = pd.concat([graded[file] for file in plain], ignore_index=True)
    numbers = numbers_of(frame)
    claims = changed_claims(
        ledger, parts, inputs, {file: rows["new_correct"] for file, rows in graded.items()}
    )
    stored = study.file.benchmarks.grader
    write_text(paths.regraded(grader, "csv"), numbers.to_csv(index=False))
    write_text(paths.regraded(grader, "md"), page(study.name, stored, grader, frame, numbers, claims))
    changed = int((frame["correct"] != frame["new_correct"]).sum())
    return {
        "responses": len(frame),
        "changed": changed,
        "numbers": int((numbers["changed"] > 0).sum()),
        "claims": len(claims),
    }


Verdicts = list[tuple[ClaimResult, ClaimResult]]


def changed_claims(
    ledger: Ledger,
    parts: Sequence[PlannedPart],
    inputs: Mapping[str, list[str]],
    correct: Mapping[str, pd.Series],
) -> Verdicts:
    """Return the claims, as stored and as graded again, whose verdicts differ. inputs: `needed_files`."""
    files = SimpleNamespace(**inputs)
    before, after = (_judged(ledger, parts, claim_frames(files, parts, column)) for column in ({}, correct))
    return [(old, new) for old, new in zip(before, after, strict=True) if old.verdict != new.verdict]


def _judged(ledger: Ledger, parts: Sequence[PlannedPart], frames: Frames) -> list[ClaimResult]:
    return judge_claims(ledger, judge_parts(parts, frames, ledger.alpha))


def page(
    study: str, stored: str, grader: str, frame: pd.DataFrame, numbers: pd.DataFrame, claims: Verdicts
) -> str:
    """Return the page of what changes, as Markdown."""
    gained = int((~frame["correct"] & frame["new_correct"]).sum())
    lost = int((frame["correct"] & ~frame["new_correct"]).sum())
    old, new = outcome_shares(frame["outcome"]), outcome_shares(frame["new_outcome"])
    shares = pd.DataFrame({"outcome": list(old), stored: old.values(), grader: new.values()})
    moved = numbers[numbers["changed"] > 0].sort_values("difference", key=abs, ascending=False, kind="stable")
    verdicts = pd.DataFrame(
        [(old.name, old.verdict, new.verdict, new.reason) for old, new in claims],
        columns=["claim", stored, grader, "reason"],
    )
    parts = [
        f"# Study `{study}`, graded again by `{grader}`",
        f"Stored grades are of `{stored}`. Of {len(frame):,} responses {gained:,} become right and {lost:,} become wrong.",
        shares.to_markdown(index=False, floatfmt=".4f"),
        f"## Numbers that change: {len(moved)} of {len(numbers)}",
        moved[[*NUMBER, "responses", "accuracy", "new_accuracy", "difference", "changed"]].to_markdown(
            index=False, floatfmt=".4f"
        )
        if len(moved)
        else "None.",
        f"## Claims whose verdict changes: {len(verdicts)}",
        verdicts.to_markdown(index=False) if len(verdicts) else "None.",
    ]
    return "\n\n".join(parts) + "\n"


@job()
def regrade_samples(task: Task) -> Facts:
    """Write what changes in a study when another grader grades its samples."""
    params = task.params["job"]
    study = load_study(params["study"], params["experiments"], params["models"], **params["draws"])
    return grade_again(study, params["grader"])
