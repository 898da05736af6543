"""Will it hurt? What self-distillation would do to a model, before any training.

`python -m selfdistill.commands.diagnose --model FOLDER --data FILE --context solution`. The model is a Hugging Face folder, the data a problem
file: the study's parquet, or parquet, JSON or JSON lines with a question and an answer per row. The model answers some of the problems, and
reads its responses as student and as teacher. Finished runs (`--runs`) say what such numbers came to; without them the numbers are printed.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from selfdistill.problems.problem import Problem, ProblemError, coverage_subset, read_problems
from selfdistill.problems.sources import read_hub_problems
from selfdistill.records.files import Damaged, read_arrow
from selfdistill.records.paths import DIAGNOSED
from selfdistill.records.schemas import problems_schema
from selfdistill.vocabulary.contexts import TEACHER
from selfdistill.vocabulary.diagnosis import FEATURES, PROBLEMS, ROLLOUTS
from selfdistill.vocabulary.families import FAMILIES, MODES, family_of
from selfdistill.vocabulary.graders import GRADERS

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

    from selfdistill.statistics.prediction import Judged, Prediction

RUNS = ("results/mini", "docs/results/mini")
"""Where finished runs (`records.paths.DIAGNOSED`) are looked for if `--runs` names none; the first that has them."""


class Refused(ValueError):
    """A model, problem file or table of runs that cannot be used; the message says why."""


def problems_of(path: Path, question: str, answer: str, suffix: str) -> list[Problem]:
    """Return the distinct problems of a file; question, answer: its columns, unless it is a problem set of the study.

    suffix: text after each question. Raise ProblemError, or Damaged for a file that cannot be read.
    """
    if (
        path.suffix == ".parquet"
        and path.is_file()
        and read_arrow(path).column_names == problems_schema().names
    ):
        return read_problems(path)
    kind = "parquet" if path.suffix == ".parquet" else "json"
    source = {"repo_id": kind, "data_files": str(path), "local": str(path.resolve()), "split": "train"}
    return read_hub_problems(
        path.name.partition(".")[0], {**source, "question": question, "answer": answer, "suffix": suffix}
    )


def family_in(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the family (`vocabulary.families`) that a chat template writes like."""

    def prompt(**switch: bool) -> str:
        """Return the prompt of an empty turn."""
        turn = [{"role": "user", "content": ""}]
        return tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False, **switch)

    if prompt().rstrip().endswith("<think>"):
        return next(name for name, family in FAMILIES.items() if family.opens_in_prompt)
    switched = prompt(enable_thinking=True) != prompt(enable_thinking=False)
    return next(
        name
        for name, family in FAMILIES.items()
        if not family.opens_in_prompt and family.has_switch is switched
    )


def finished_runs(asked: str | None) -> "pd.DataFrame | None":
    """Return the table of finished runs of a results folder or file; None if none was asked for and none is there. Raise Refused."""
    import pandas as pd

    from selfdistill.statistics.prediction import CHANGE, GROUPS

    paths = [Path(name) for name in ([asked] if asked else RUNS)]
    paths = [path if path.suffix == ".csv" else path / DIAGNOSED for path in paths]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        if asked:
            raise Refused(f"{paths[0]}: no such file (docs/diagnosis.md says what it holds)")
        return None
    runs = pd.read_csv(path)
    missing = [name for name in (*FEATURES, *GROUPS, CHANGE) if name not in runs]
    if missing:
        raise Refused(f"{path}: missing columns {', '.join(missing)}; it has: {', '.join(runs)}")
    return runs


def measured(options: argparse.Namespace) -> dict[str, float]:
    """Return the features of the planned run, and their counts; raise Refused, ProblemError or Damaged, ValueError as `diagnose`."""
    path = Path(options.model)
    if not (path / "config.json").is_file():
        raise Refused(f"{path}: must be a Hugging Face folder with config.json, weights and tokenizer")
    problems = problems_of(Path(options.data), options.question, options.answer, options.suffix)
    if options.coverage is not None:
        problems = coverage_subset(problems, options.coverage, options.seed)

    from selfdistill.generation.protocol import Sampling
    from selfdistill.generation.transformers_backend import TransformersGenerator
    from selfdistill.models.loading import check_model_folder, load_tokenizer
    from selfdistill.training.diagnosis import Plan, diagnose

    check_model_folder(path)
    template = options.template or family_in(load_tokenizer(path))
    modes = family_of(template).modes
    thinking = options.thinking or modes[0]
    if thinking not in modes:
        raise Refused(f"--thinking {thinking} is not of the family {template}; allowed: {', '.join(modes)}")
    print(f"model family {template}, thinking {thinking}")
    plan = Plan(
        context=options.context,
        template=template,
        sampling=Sampling(temperature=options.temperature, max_new_tokens=options.max_new_tokens),
        loss=Plan.loss._replace(temperature=options.temperature),
        problems=options.problems,
        rollouts=options.rollouts,
        grader=options.grader,
        seed=options.seed,
    )
    return diagnose(TransformersGenerator.load(path, thinking), problems, plan)


def numbers_text(found: Mapping[str, float]) -> str:
    """Return the features line by line, and the counts that they rest on."""
    lines = [f"  {name:26}{found[name]:>10.4g}  {text}" for name, text in FEATURES.items()]
    counts = (
        f"measured on {found['answered']} problems with {found['responses']} responses, {found['demonstrated']} of them with a "
        f"demonstration; {found['guided']} correct responses under the context"
    )
    return "\n".join([*lines, counts])


def errors_text(judged: Sequence["Judged"]) -> str:
    """Return the errors on left-out groups, of the features and of the constant predictor."""
    from selfdistill.statistics.prediction import GROUPS

    head = "error of the OOD change on runs of a group that was left out (root mean square):"
    lines = [
        f"  {GROUPS[own.kind]:18} {own.groups:3} groups: features {own.ridge:.3f}, mean of the others {own.constant:.3f}"
        for own in judged
    ]
    return "\n".join([head, *lines])


def prediction_text(found: "Prediction") -> str:
    """Return errors, prediction and verdict."""
    lines = [errors_text(found.judged)] if found.judged else []
    if found.change == found.change:
        lines.append(f"predicted OOD change: {found.change:+.3f} [{found.low:+.3f}, {found.high:+.3f}]")
    return "\n".join([*lines, f"{found.verdict}: {found.why}"])


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    own = argparse.ArgumentParser(prog="python -m selfdistill.commands.diagnose", description=__doc__)
    own.add_argument("--model", required=True, help="Hugging Face folder of the base")
    own.add_argument("--data", required=True, help="problem file of the planned run")
    own.add_argument("--context", required=True, choices=TEACHER, metavar="CONTEXT", help=", ".join(TEACHER))
    own.add_argument(
        "--coverage", type=int, help="number of distinct problems of the run (default: all of the file)"
    )
    own.add_argument(
        "--runs",
        help=f"results folder of a study, or table of finished runs (default: the first of {', '.join(RUNS)})",
    )
    own.add_argument(
        "--question", default="question", help="column of the question; dots lead into nested columns"
    )
    own.add_argument("--answer", default="answer", help="column of the answer")
    own.add_argument("--suffix", default="", help="text after each question, such as a request for a box")
    own.add_argument("--grader", default="strict", choices=GRADERS)
    own.add_argument("--template", choices=FAMILIES, help="model family (default: by the chat template)")
    own.add_argument("--thinking", choices=MODES, help="thinking switch (default: the family's first)")
    own.add_argument(
        "--problems", type=int, default=PROBLEMS, help="largest number of problems that are answered"
    )
    own.add_argument("--rollouts", type=int, default=ROLLOUTS, help="responses per problem")
    own.add_argument("--max-new-tokens", type=int, default=512, help="largest response length in tokens")
    own.add_argument("--temperature", type=float, default=1.0, help="temperature of the responses")
    own.add_argument("--seed", type=int, default=0, help="of all draws")
    return own


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the numbers of a planned run, and what finished runs say about them."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    from selfdistill.statistics.prediction import UNKNOWN, predict

    try:
        runs = finished_runs(options.runs)
        found = measured(options)
    except (Refused, ProblemError, Damaged, ValueError, OSError) as error:
        raise SystemExit(f"diagnose: {error}") from error
    print(numbers_text(found))
    print(
        prediction_text(predict(runs, found, options.context))
        if runs is not None
        else f"{UNKNOWN}: no finished runs to learn from"
    )


if __name__ == "__main__":
    main()
