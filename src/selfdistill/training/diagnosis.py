"""A planned run of self-distillation, measured on its base before any training: the numbers of `vocabulary.diagnosis`.

The base answers some of the run's problems, as in the first step of SDPO: responses to the bare question are graded, and the teacher sees
what its context makes of the correct ones. Student and teacher, the same weights under two prompts, then read the same responses:
their divergence is SDPO's loss before the first update. The teacher's prompts are answered too: the nats that the context tells are the mean
of log p(y | x, c) - log p(y | x) over correct responses y under it, as in `sampling.richness`.

A response is scored as text: its tokens are those of the tokenizer.

The job is here and not in `run`, so that a change in what is measured does not count for what trains.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from selfdistill.generation.protocol import Sampling
from selfdistill.grading.graders import Grader
from selfdistill.models.prompts import prompt_ids
from selfdistill.problems.problem import Problem, coverage_subset, read_problems
from selfdistill.records.files import write_table
from selfdistill.records.schemas import diagnosis_schema
from selfdistill.records.task import Facts, Task, job
from selfdistill.sampling.evaluation import load_generator, response_frame
from selfdistill.sampling.richness import scoring_modules, tokenized
from selfdistill.sampling.scoring import fitting, response_log_probs
from selfdistill.seeds import derive_seed
from selfdistill.study.diagnosis import DiagnosisParams
from selfdistill.training.contrast import epistemic_ids, token_contrast
from selfdistill.training.loss.chunked import LossOptions
from selfdistill.training.loss.losses import check_top_k
from selfdistill.training.teacher import RolloutBatch, user_turns
from selfdistill.vocabulary.diagnosis import PROBLEMS, ROLLOUTS
from selfdistill.vocabulary.token_classes import POSITIONS

if TYPE_CHECKING:
    from selfdistill.generation.transformers_backend import TransformersGenerator

FORK = POSITIONS.index("fork")
UNKNOWN = float("nan")
NOTHING_TOLD = {"nats_per_response": UNKNOWN, "nats_per_token": UNKNOWN, "guided": 0}
NOTHING_SHOWN = {
    **dict.fromkeys(("divergence", "epistemic_change", "epistemic_change_at_forks"), UNKNOWN),
    "demonstrated": 0,
    **NOTHING_TOLD,
}


class NoDemonstration(ValueError):
    """A planned run whose teacher sees nothing: no response of the base can be shown to it."""


@dataclass(frozen=True)
class Plan:
    """A planned run, and how much of it is measured.

    context: of the teacher; template: model family; loss: SDPO's; sampling: of its rollouts; problems: largest number that is answered;
    rollouts: responses per problem, at least 2; threshold: lowest score of a demonstration; reprompt_tokens: length at which the teacher's
    prompt is cut, on the right; teacher_thinking: switch of the teacher's prompts (default: the student's); seed: of all draws.
    """

    context: str
    template: str
    sampling: Sampling
    loss: LossOptions = LossOptions(alpha=0.5, top_k=20, tail=True, is_clip=None)
    problems: int = PROBLEMS
    rollouts: int = ROLLOUTS
    threshold: float = 0.5
    reprompt_tokens: int | None = None
    teacher_thinking: str | None = None
    grader: str = "strict"
    seed: int = 0


@dataclass(frozen=True)
class Answers:
    """Responses of the base under some user turns, in groups of `rollouts` per problem.

    frame: rows of `response_frame`; ids, classes: token ids and position classes of each response.
    """

    frame: pd.DataFrame
    ids: list[list[int]]
    classes: list[np.ndarray]

    def rows(self, chosen: Sequence[int]) -> list[list[int]]:
        """Return the token ids of some responses."""
        return [self.ids[row] for row in chosen]


def diagnose(generator: "TransformersGenerator", problems: Sequence[Problem], plan: Plan) -> dict[str, float]:
    """Return what `measure` does; raise NoDemonstration if the teacher would see nothing."""
    found = measure(generator, problems, plan)
    if not found["demonstration_share"]:
        correct = round(found["accuracy"] * found["responses"])
        raise NoDemonstration(
            f"the teacher sees nothing under the context {plan.context!r}: {correct} of {found['responses']} responses to "
            f"{found['answered']} problems are correct. Self-distillation needs problems that the base solves sometimes"
        )
    return found


def measure(generator: "TransformersGenerator", problems: Sequence[Problem], plan: Plan) -> dict[str, float]:
    """Return the features (`vocabulary.diagnosis`) of a planned run on these problems, and the counts that they rest on.

    What the teacher is needed for is NaN if it would see nothing; nats_* are NaN if no response under the context is correct. Raise
    ValueError for fewer than 2 rollouts or a top_k beyond the vocabulary.
    """
    if plan.rollouts < 2:
        raise ValueError(f"rollouts must be at least 2, not {plan.rollouts}: a teacher sees another response")
    check_top_k(plan.loss.top_k, generator.model.config.get_text_config().vocab_size)
    asked = coverage_subset(problems, min(plan.problems, len(problems)), plan.seed)
    with Grader(plan.grader) as grader:
        unguided = answered(generator, asked, plan, grader)
        turns = teacher_turns(plan, asked, unguided.frame)
        shown = [
            (problem, next(filter(None, turns[start : start + plan.rollouts])))
            for start, problem in zip(range(0, len(turns), plan.rollouts), asked, strict=True)
            if any(turns[start : start + plan.rollouts])
        ]
        guided = shown and answered(
            teacher_of(generator, plan), [p for p, _ in shown], plan, grader, [turn for _, turn in shown]
        )
    questions = [problem.question for problem in asked for _ in range(plan.rollouts)]
    taught = NOTHING_SHOWN
    if guided:
        taught = contrast(generator, unguided, questions, turns, plan)
        taught |= told(generator, guided, [p.question for p, _ in shown], [turn for _, turn in shown], plan)
    tokens = np.concatenate(unguided.classes)
    return {
        "problems": len(problems),
        "accuracy": float(unguided.frame["correct"].mean()),
        "response_tokens": float(unguided.frame["response_tokens"].mean()),
        "fork_share": float((tokens == FORK).mean()),
        "demonstration_share": float(np.mean([turn is not None for turn in turns])),
        **taught,
        "answered": len(asked),
        "responses": len(unguided.frame),
    }


def answered(
    generator: "TransformersGenerator",
    problems: Sequence[Problem],
    plan: Plan,
    grader: Grader,
    turns: Sequence[str] | None = None,
) -> Answers:
    """Return the graded responses to some problems, `plan.rollouts` each, under the bare questions or under user turns."""
    seed = derive_seed(plan.seed, "diagnosis", "unguided" if turns is None else plan.context)
    frame = response_frame(
        generator, problems, plan.template, plan.rollouts, plan.sampling, seed, grader, turns
    )
    return Answers(frame, *tokenized(generator, frame))


def teacher_turns(plan: Plan, problems: Sequence[Problem], frame: pd.DataFrame) -> list[str | None]:
    """Return the teacher's user turn for every response, None without a demonstration."""
    rows = [problem for problem in problems for _ in range(plan.rollouts)]
    batch = RolloutBatch(
        questions=[problem.question for problem in rows],
        rewards=frame["correct"].astype(float).tolist(),
        text=frame["response"].tolist().__getitem__,
        group=plan.rollouts,
        threshold=plan.threshold,
        template=plan.template,
        lengths=frame["response_tokens"].tolist(),
        answers=[problem.answers for problem in rows],
        problems=[problem.problem_id for problem in rows],
        seed=derive_seed(plan.seed, "diagnosis", "teacher"),
    )
    return user_turns(plan.context, batch)


def teacher_of(generator: "TransformersGenerator", plan: Plan) -> "TransformersGenerator":
    """Return the same model with the thinking switch of the plan's teacher."""
    teacher = copy(generator)
    teacher.thinking = plan.teacher_thinking or generator.thinking
    return teacher


def contrast(
    generator: "TransformersGenerator",
    unguided: Answers,
    questions: Sequence[str],
    turns: Sequence[str | None],
    plan: Plan,
) -> dict[str, float]:
    """Return divergence, epistemic_change and epistemic_change_at_forks, means over the tokens of responses with a demonstration."""
    rows = [row for row, turn in enumerate(turns) if turn is not None]
    students = prompts_of(generator, [questions[row] for row in rows])
    teachers = prompts_of(teacher_of(generator, plan), [turns[row] for row in rows], plan.reprompt_tokens)
    kept = rows_to_read(generator, teachers, unguided.rows(rows))
    values = token_contrast(
        generator.model,
        [students[i] for i in kept],
        [teachers[i] for i in kept],
        unguided.rows([rows[i] for i in kept]),
        plan.loss,
        epistemic_ids(generator.tokenizer),
    )
    forks = np.concatenate([unguided.classes[rows[i]] for i in kept]) == FORK
    divergence, change = values.mean(axis=0).tolist()
    return {
        "divergence": divergence,
        "epistemic_change": change,
        "epistemic_change_at_forks": float((values[:, 1] * forks).mean()),
        "demonstrated": len(kept),
    }


def told(
    generator: "TransformersGenerator",
    guided: Answers,
    questions: Sequence[str],
    turns: Sequence[str],
    plan: Plan,
) -> dict[str, float]:
    """Return nats_per_response and nats_per_token over the correct responses under the context; questions, turns: one per problem."""
    rows = np.flatnonzero(guided.frame["correct"]).tolist()
    shown = [turns[row // plan.rollouts] for row in rows]
    teachers = prompts_of(teacher_of(generator, plan), shown)  # whole, as these responses were written
    students = prompts_of(generator, [questions[row // plan.rollouts] for row in rows])
    kept = rows_to_read(generator, teachers, guided.rows(rows)) if rows else []
    if not kept:
        return NOTHING_TOLD
    responses = guided.rows([rows[i] for i in kept])
    under, bare = (
        response_log_probs(generator.model, [own[i] for i in kept], responses, generator.end_token_ids)
        for own in (teachers, students)
    )
    nats = float(np.concatenate(under).sum() - np.concatenate(bare).sum())
    return {
        "nats_per_response": nats / len(kept),
        "nats_per_token": nats / sum(map(len, responses)),
        "guided": len(kept),
    }


def prompts_of(
    generator: "TransformersGenerator", turns: Sequence[str], limit: int | None = None
) -> list[list[int]]:
    """Return the token ids of the prompts with these user turns, cut at `limit` tokens; equal ones are written once."""
    distinct = list(dict.fromkeys(turns))
    ids = prompt_ids(generator.tokenizer, distinct, generator.thinking) if distinct else []
    found = {turn: own[:limit] for turn, own in zip(distinct, ids, strict=True)}
    return [found[turn] for turn in turns]


def rows_to_read(
    generator: "TransformersGenerator", prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> list[int]:
    """Return the rows that fit the model's positions (`scoring.fitting`). Raise ValueError if there is none."""
    kept = fitting(generator.model, prompts, responses)
    if not kept:
        limit = generator.model.config.get_text_config().max_position_embeddings
        raise ValueError(
            f"every teacher's prompt with its response exceeds the model's {limit} positions: shorten responses"
        )
    return kept


def plan_of(params: DiagnosisParams) -> Plan:
    """Return the plan of a job."""
    return Plan(
        context=params.run.context,
        template=params.template,
        sampling=Sampling(temperature=params.temperature, max_new_tokens=params.max_new_tokens),
        # the policy has not moved yet, so that no ratio is clipped
        loss=LossOptions(params.alpha, params.top_k, params.tail, None, params.temperature),
        rollouts=params.rollouts,
        threshold=params.success_threshold,
        reprompt_tokens=params.max_reprompt_tokens,
        teacher_thinking=params.teacher_thinking,
        grader=params.grader,
        seed=params.run.draw_seed,
    )


@job(late=scoring_modules)
def measure_diagnosis(task: Task) -> Facts:
    """Write the features of a planned run, measured on its base."""
    params = DiagnosisParams.model_validate(task.params["job"])
    generator = load_generator(Path(task.input.base), params.thinking, "transformers")
    found = measure(generator, read_problems(task.input.data), plan_of(params))
    row = {"study": params.study, **params.run.fields(), **found}
    write_table(task.output.features, pd.DataFrame([row]), diagnosis_schema())
    return {name: found[name] for name in ("responses", "guided")}
