"""Graders beside each other: right rewrites refused and wrong neighbours accepted, hand cases, answers that hang, throughput.

    python benchmarks/grading.py --data DATA [--cases CASES.jsonl]

The corpus is made by rule from the gold answers of the data files (tests/unit/grading_corpus.py); of the whole numbers every
--every'th is used, and the graders other than `strict` get every --others'th answer. --cases are answers with their right value by
hand. Every answer is graded inside a box. `--hangs` of the answers of the throughput run hang. Writes
benchmarks/results/grading.json and benchmarks/grading.md; no answer of the data is written.
"""

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent / "tests" / "unit"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(FOLDER), os.environ.get("PYTHONPATH")]))
RESULTS, TABLE = FOLDER / "results" / "grading.json", FOLDER / "grading.md"
NAMES = {
    "strict": "`strict` (this project)",
    "math-verify": "math-verify 0.9.0 alone, boxed",
    "authors-reward": "`authors-reward`",
    "authors-eval": "`authors-eval`",
}
ADVERSARIAL = {
    "tower of powers": "9^{9^{9^{9}}}",
    "factorial of a billion": "(10^{9})!",
    "binomial of a billion": r"\binom{10^{9}}{5\cdot 10^{8}}",
    "long sum of powers": r"\sum_{k=1}^{10^{9}} k^{k}",
    "long product": r"\prod_{k=1}^{10^{8}} k",
    "integral": r"\int_{0}^{1} \sin(x^{x^{x}}) dx",
    "200 brackets": "(" * 200 + "9" + ")" * 200,
    "60 nested fractions": r"\frac{1}{" * 60 + "9" + "}" * 60,
    "100 powers": "x^" * 100 + "2",
    "nine factorials": "9!!!!!!!!",
    "powers of a sum": "((((((((x+1)^{9})^{9})^{9})^{9})^{9})^{9})^{9})^{9}",
    "three sums of a thousand": r"\sum_{i=1}^{1000}\sum_{j=1}^{1000}\sum_{k=1}^{1000} i j k",
    "500 signs": "-" * 500 + "9",
    "900 digits": "9" * 900,
    "2,000 digits": "9" * 2000,
}
LIMIT = 5.0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the parquet files of the data")
    parser.add_argument(
        "--cases", type=Path, help="hand cases, one JSON object a line: response, gold, truth (or null)"
    )
    parser.add_argument("--every", type=int, default=1, help="use every so many whole numbers of the golds")
    parser.add_argument(
        "--others", type=int, default=1, help="give the other graders every so many answers of the corpus"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--answers", type=int, default=20_000, help="answers of the throughput run")
    parser.add_argument("--hangs", type=int, default=4)
    return parser.parse_args()


def plain(cell):
    """A cell of a data file, where some are JSON."""
    return json.loads(cell) if isinstance(cell, str) else cell


def golds_of(folder: Path) -> list[str]:
    """Every gold answer of the data files, once."""
    import pandas

    tables = [pandas.read_parquet(file) for file in sorted(folder.glob("*.parquet"))]
    return list(
        dict.fromkeys(str(plain(cell)["ground_truth"]) for table in tables for cell in table["reward_model"])
    )


def grader(name: str, workers: int, seconds: float = 20.0):
    """A grader of the project, or math-verify alone."""
    from selfdistill.grading.graders import Grader
    from selfdistill.vocabulary.graders import GRADERS

    if name in GRADERS:
        return Grader(name, workers, seconds)
    import plain_math_verify

    from selfdistill.grading.pool import Pool

    made = Grader("strict", workers, seconds)
    made._rules, made._pool = plain_math_verify, Pool("plain_math_verify", workers, seconds)
    return made


def on_corpus(name: str, cases: list, workers: int) -> dict:
    """Errors of one grader on the corpus, in all and without exotic rules, by kind, and of the exploitable rules."""
    from grading_corpus import EXOTIC

    start = time.monotonic()
    with grader(name, workers) as own:
        grades = own.grade(
            [rf"so \boxed{{{case.answer}}}" for case in cases], [[case.gold] for case in cases]
        )
    wrong = [case for case, grade in zip(cases, grades, strict=True) if grade.correct != case.truth]

    def errors(chosen, all_of) -> dict:
        return {
            "refused": sum(case.truth for case in chosen), "right": sum(case.truth for case in all_of),
            "accepted": sum(not case.truth for case in chosen), "wrong": sum(not case.truth for case in all_of),
        }  # fmt: skip

    kinds = dict.fromkeys(case.kind for case in cases)
    return {
        "all": errors(wrong, cases),
        "plain": errors(
            [c for c in wrong if c.rule not in EXOTIC], [c for c in cases if c.rule not in EXOTIC]
        ),
        "exploits": sum(not case.truth and case.rule.startswith(("sum", "picked")) for case in wrong),
        "outcomes": Counter(grade.outcome for grade in grades),
        "kinds": {
            kind: errors([c for c in wrong if c.kind == kind], [c for c in cases if c.kind == kind])
            for kind in kinds
        },
        "seconds": time.monotonic() - start,
    }


def on_cases(name: str, file: Path, workers: int) -> dict:
    """Errors of one grader on hand cases, which are whole responses."""
    cases = [case for case in map(json.loads, file.read_text().splitlines()) if case["truth"] is not None]
    with grader(name, workers) as own:
        grades = own.grade([case["response"] for case in cases], [[case["gold"]] for case in cases])
    pairs = list(zip(cases, grades, strict=True))
    return {
        "refused": sum(c["truth"] and not g.correct for c, g in pairs), "right": sum(c["truth"] for c in cases),
        "accepted": sum(g.correct and not c["truth"] for c, g in pairs), "wrong": sum(not c["truth"] for c in cases),
    }  # fmt: skip


def adversarial() -> list[dict]:
    """Outcome and seconds of each adversarial answer, processor time of the workers and wall clock."""
    import resource

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    rows = []
    for name, answer in ADVERSARIAL.items():
        with grader("strict", 1, LIMIT) as own:
            own.grade([r"\boxed{1/2}"], [["0.5"]])
            own.close()
            idle, start = spent(), time.monotonic()
            own.grade([r"\boxed{1/2+0}"], [["0.5"]])
            own.close()
            warm, before, start = spent() - idle, spent(), time.monotonic()
            (grade,) = own.grade([rf"\boxed{{{answer}}}"], [["9"]])
            own.close()
            rows.append({"name": name, "outcome": grade.outcome, "detail": grade.detail,
                         "cpu": max(0.0, spent() - before - warm), "wall": time.monotonic() - start})  # fmt: skip
    return rows


def throughput(options: argparse.Namespace) -> dict:
    """Seconds for answers like those of the model organism, by both sides, and for a mix with algebra and hangs."""
    from math_verify import parse, verify

    draw = random.Random(0)
    responses = [
        rf"hmm maybe {i} : no </think> \boxed{{{draw.randrange(13)}}}" for i in range(options.answers)
    ]
    answers = [[str(draw.randrange(13))] for _ in responses]
    start = time.process_time()
    with grader("strict", 1) as own:
        grades = own.grade(responses, answers)
    ours = time.process_time() - start
    start = time.process_time()
    share = options.answers // 10
    theirs = [
        verify(parse(f"\\boxed{{{gold}}}"), parse(text))
        for text, (gold,) in zip(responses[:share], answers, strict=False)
    ]
    plain_seconds = (time.process_time() - start) * options.answers / share
    mixed = [rf"\boxed{{\frac{{{i}}}{{{i + 1}}}}}" for i in range(200)]
    hanging = [rf"\boxed{{{k}+9^{{9^{{9^{{9}}}}}}}}" for k in range(options.hangs)]
    runs = {}
    for label, texts in (
        ("200 fractions", mixed),
        (f"200 fractions and {options.hangs} hangs", mixed + hanging),
    ):
        for workers in (1, options.workers):
            with grader("strict", workers, 1.0) as own:
                start = time.monotonic()
                own.grade(texts, [["7/8"]] * len(texts))
                runs[f"{label}, {workers} worker{'s' * (workers > 1)}"] = time.monotonic() - start
    return {"answers": options.answers, "strict": ours, "math-verify": plain_seconds, "mixed": runs,
            "agree": [grade.correct for grade in grades[:share]] == theirs}  # fmt: skip


def rate(found: dict) -> str:
    """False negatives and false positives of a row, as two cells."""
    return " | ".join(
        f"{found[a]:,} of {found[b]:,} ({100 * found[a] / max(1, found[b]):.2f} %)"
        for a, b in (("refused", "right"), ("accepted", "wrong"))
    )


def page(result: dict) -> str:
    """The results as Markdown."""
    lines = [
        "# Grading: graders beside each other", "",
        "`python benchmarks/grading.py --help` says how. Refused: right answers that are called wrong. Accepted: wrong ones that are",
        "called right. `authors-…` are this project's versions of the authors' rules (docs/grading.md), given every answer in a box.",
        f"Corpus: {result['cases']:,} answers made by rule from {result['golds']} gold answers.", "",
        "| grader | refused | accepted | refused, no exotic rule | accepted, no exotic rule | sums and picked numbers accepted |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, label in NAMES.items():
        found = result["corpus"][name]
        lines.append(f"| {label} | {rate(found['all'])} | {rate(found['plain'])} | {found['exploits']:,} |")
    if "hand" in result:
        lines += ["", "| grader | hand cases refused | hand cases accepted |", "|---|---|---|"]
        lines += [f"| {label} | {rate(result['hand'][name])} |" for name, label in NAMES.items()]
    lines += ["", "`strict` by kind of gold answer:", "", "| kind | refused | accepted |", "|---|---|---|"]
    lines += [f"| {kind} | {rate(found)} |" for kind, found in result["corpus"]["strict"]["kinds"].items()]
    lines += ["", f"Adversarial answers against `9`, limit {LIMIT:g} s of processor time:", "",
              "| answer | outcome | processor s | wall s |", "|---|---|---|---|"]  # fmt: skip
    lines += [
        f"| {row['name']} | {row['outcome']} | {row['cpu']:.1f} | {row['wall']:.1f} |"
        for row in result["adversarial"]
    ]
    speed = result["throughput"]
    lines += ["", f"{speed['answers']:,} answers as the model organism's: `strict` {speed['strict']:.2f} s of processor time, math-verify in a "
              f"loop {speed['math-verify']:.1f} s ({speed['math-verify'] / speed['strict']:.0f} times; from a tenth of them).", "",
              "| answers | wall s |", "|---|---|"]  # fmt: skip
    lines += [f"| {label} | {seconds:.1f} |" for label, seconds in speed["mixed"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    from grading_corpus import corpus, kind_of

    options = arguments()
    golds = golds_of(options.data)
    numbers = [gold for gold in golds if kind_of(gold) == "integer"]
    golds = numbers[:: options.every] + [gold for gold in golds if kind_of(gold) != "integer"]
    cases = list(corpus(golds))
    result = {"golds": len(golds), "cases": len(cases), "corpus": {}}
    for name in NAMES:
        result["corpus"][name] = on_corpus(
            name, cases[:: 1 if name == "strict" else options.others], options.workers
        )
        print(name, result["corpus"][name]["all"], result["corpus"][name]["exploits"], flush=True)
    if options.cases:
        result["hand"] = {name: on_cases(name, options.cases, options.workers) for name in NAMES}
    result |= {"adversarial": adversarial(), "throughput": throughput(options)}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    TABLE.write_text(page(result))


if __name__ == "__main__":
    main()
