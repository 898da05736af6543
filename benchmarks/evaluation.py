"""Evaluation throughput against transformers' generate, and grading against math-verify called in a plain loop.

    make mini                                  # once: the benchmark takes a base model, problems and samples
    python benchmarks/evaluation.py

Generation: the same model, prompts and number of rows per batch (--rows, the study's own by default) on one thread; `generate` is
transformers' with sampling at temperature 1 and the same limit. The sides take turns, --rounds times; tokens are those of the
responses, end of sequence included. Compared are tokens per CPU second, which another process's load hardly changes.

Grading: --answers responses of the mini study. The plain loop parses and compares every response with math-verify, with its
own time-outs; this project's grader starts with an empty cache. The benchmark fails unless both agree on every response with a
closed box. Wall seconds, since workers are other processes. An adversarial answer is graded as well.

Writes benchmarks/results/evaluation.json and benchmarks/evaluation.md.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

from common import add_results, base_in, paths_in

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results" / "evaluation.json"
TABLE = FOLDER / "evaluation.md"
SAMPLES = 4
"""Samples per prompt."""
ADVERSARIAL = r"\boxed{9^{9^{9^{9}}}}"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_results(parser)
    parser.add_argument(
        "--models", nargs="+", help="models of the mini study (default: all whose base is there)"
    )
    parser.add_argument("--benchmark", default="in-domain")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--answers", type=int, default=20_000)
    return parser.parse_args()


def models_of(options: argparse.Namespace) -> list[str]:
    """The models that were asked for; else one per base that is there."""
    from selfdistill.study.load import load_study

    study = load_study("config/mini.yaml")
    by_base = {study.model(name).base: name for name in reversed(study.models())}
    there = [name for base, name in by_base.items() if base_in(options.results, study, base).is_dir()]
    return options.models or there[::-1]


def generation(options: argparse.Namespace, model: str) -> dict:
    """Tokens and CPU seconds of both sides on the base of one model."""
    import torch

    from selfdistill.generation.protocol import Sampling
    from selfdistill.generation.transformers_backend import TransformersGenerator
    from selfdistill.problems.problem import read_problems
    from selfdistill.study.load import load_study

    torch.set_num_threads(1)
    study = load_study("config/mini.yaml")
    base = study.model(model).base
    ours = TransformersGenerator.load(
        base_in(options.results, study, base), study.model(model).thinking, options.rows
    )
    problems = read_problems(paths_in(options.results).benchmark(options.benchmark))
    turns = [problem.question for problem in problems][: options.rows // SAMPLES]
    sampling = Sampling(max_new_tokens=study.file.benchmarks.max_new_tokens)
    raw = {"this project": [], "transformers generate": []}
    for seed in range(options.rounds):
        for side, parts in raw.items():
            sample = own_tokens if side == "this project" else generate_tokens
            start = time.process_time()
            tokens = sample(ours, turns, sampling, seed)
            parts.append({"tokens": tokens, "cpu": time.process_time() - start})
    return {"base": base, "rows": options.rows, "raw": raw} | {
        side: statistics.median(part["tokens"] / part["cpu"] for part in parts) for side, parts in raw.items()
    }


def own_tokens(generator, turns: list[str], sampling, seed: int) -> int:
    """Response tokens of this project's sampler."""
    groups = generator.generate(turns, SAMPLES, sampling, seed)
    return sum(len(completion.token_ids) for group in groups for completion in group)


def generate_tokens(generator, turns: list[str], sampling, seed: int) -> int:
    """Response tokens of transformers' generate."""
    import torch

    from selfdistill.models.prompts import prompt_ids

    torch.manual_seed(seed)
    rows = [ids for ids in prompt_ids(generator.tokenizer, turns, generator.thinking) for _ in range(SAMPLES)]
    width, pad, ends = max(map(len, rows)), generator.tokenizer.pad_token_id, list(generator.end_token_ids)
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    with torch.no_grad():
        output = generator.model.generate(
            input_ids=ids, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
            max_new_tokens=sampling.max_new_tokens, eos_token_id=ends, pad_token_id=pad,
        )[:, width:]  # fmt: skip
    ended = torch.isin(output, torch.tensor(ends)).int()
    return int((ended.cumsum(1) - ended == 0).sum())


def grading(options: argparse.Namespace) -> dict:
    """Seconds of both sides on the same responses."""
    import pandas

    from selfdistill.grading.answers import extract_answer
    from selfdistill.grading.graders import Grader
    from selfdistill.problems.problem import read_problems

    answers_of = {
        problem.problem_id: list(problem.answers)
        for file in sorted((options.results / "problems" / "held-out").rglob("*.parquet"))
        for problem in read_problems(file)
    }
    files = sorted((options.results / "runs").rglob("samples/*.parquet"))
    frame = pandas.concat(pandas.read_parquet(file, columns=["problem_id", "response"]) for file in files)
    frame = frame[frame["problem_id"].isin(answers_of)].sample(frac=1.0, random_state=0).head(options.answers)
    responses = frame["response"].tolist()
    answers = [answers_of[problem] for problem in frame["problem_id"]]
    start = time.perf_counter()
    plain = [plain_verdict(*pair) for pair in zip(responses, answers, strict=True)]
    seconds = {"math-verify in a loop": time.perf_counter() - start}
    start = time.perf_counter()
    with Grader() as grader:
        own = [grade.correct for grade in grader.grade(responses, answers)]
        seconds["this project"] = time.perf_counter() - start
        start = time.perf_counter()
        outcome = grader.grade([ADVERSARIAL], [["7"]])[0].outcome
        adversarial = {"seconds": time.perf_counter() - start, "outcome": outcome}
    differing = [response for response, a, b in zip(responses, plain, own, strict=True) if a != b]
    if unexplained := [response for response in differing if extract_answer(response)]:
        raise RuntimeError(f"{len(unexplained)} verdicts differ, the first on {unexplained[0]!r}")
    return {
        "answers": len(responses), "distinct": len(set(zip(responses, map(tuple, answers), strict=True))),
        "correct": sum(own), "without_box": len(differing), "seconds": seconds, "adversarial": adversarial,
    }  # fmt: skip


def plain_verdict(response: str, answers: list[str]) -> bool:
    """math-verify on the whole response, as its documentation shows it, with its own time-outs of five seconds."""
    from math_verify import parse, verify

    prediction = parse(response)
    return any(verify(parse(f"\\boxed{{{gold}}}"), prediction) for gold in answers)


def table(result: dict) -> str:
    """The result as Markdown."""
    lines = [
        "# Evaluation: tokens and answers per second",
        "",
        "`python benchmarks/evaluation.py --help` says how. Generation in tokens per CPU second on one thread; grading in wall",
        "seconds.",
        "",
        "| base | rows per batch | transformers generate, tokens/s | this project, tokens/s | ratio |",
        "|---|---|---|---|---|",
    ]
    for row in result["generation"]:
        own, theirs = row["this project"], row["transformers generate"]
        lines.append(f"| {row['base']} | {row['rows']} | {theirs:,.0f} | {own:,.0f} | {own / theirs:.2f} |")
    grades = result["grading"]
    own, plain = grades["seconds"]["this project"], grades["seconds"]["math-verify in a loop"]
    hung = grades["adversarial"]
    lines += [
        "",
        "| answers | distinct pairs of response and answer | math-verify in a loop, s | this project, s | ratio |",
        "|---|---|---|---|---|",
        f"| {grades['answers']:,} | {grades['distinct']:,} | {plain:.1f} | {own:.2f} | {plain / own:.0f} |",
        "",
        f"The verdicts are equal but for {grades['without_box']:,} responses without a closed box, where math-verify takes a number out",
        f"of the text and this study gives no answer. `{ADVERSARIAL}` against 7: {hung['outcome']} after "
        f"{hung['seconds']:.1f} s.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write."""
    options = arguments()
    result = {
        "load_average": os.getloadavg()[0],
        "generation": [generation(options, model) for model in models_of(options)],
        "grading": grading(options),
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    TABLE.write_text(table(result), encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
