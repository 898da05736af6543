"""math-verify alone, as a grader's module: the box and its defaults. For benchmarks/grading.py."""

from selfdistill.grading.answers import extract_answer, integers_equal

extract = extract_answer
decide = integers_equal


def compare(answer: str, gold: str) -> tuple[str, str]:
    """Return the outcome of math-verify's own reading of both boxes."""
    from math_verify import parse, verify

    found = [parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (gold, answer)]
    return ("correct" if verify(*found, timeout_seconds=None) else "wrong"), ""
