"""The named graders. Adding one is its module and a line here; docs/grading.md says what each does."""

GRADERS = {
    "strict": "grading.strict",
    "authors-reward": "grading.authors_reward",
    "authors-eval": "grading.authors_eval",
    "mcq": "grading.mcq",
}
"""Grader -> its module below the package."""
ANSWER_GRADERS = tuple(name for name in GRADERS if name != "mcq")
"""Graders that can grade every stored response again."""


def grader_module(name: str) -> str:
    """Return the module of a grader. Raises ValueError for an unknown one."""
    if name not in GRADERS:
        raise ValueError(f"unknown grader {name!r}; allowed: {', '.join(GRADERS)}")
    return GRADERS[name]
