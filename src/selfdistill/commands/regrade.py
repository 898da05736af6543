"""Grades all stored samples of a study again by another grader, without a model, and says what changes.

`python -m selfdistill.commands.regrade --study mini --grader authors-eval`, or `snakemake regrade --config grader=authors-eval`. Written
are results/STUDY/regraded/GRADER.md (what changes) and .csv (every number).
"""

import argparse
from collections.abc import Sequence

from selfdistill.commands.options import add_study, refusing, study_of
from selfdistill.records.paths import Paths
from selfdistill.report.regraded import grade_again
from selfdistill.vocabulary.graders import ANSWER_GRADERS


@refusing
def main(arguments: Sequence[str] | None = None) -> None:
    """Grade a study again and print what changed."""
    parser = argparse.ArgumentParser(prog="python -m selfdistill.commands.regrade", description=__doc__)
    add_study(parser)
    parser.add_argument("--grader", required=True, choices=ANSWER_GRADERS)
    options = parser.parse_args(arguments)
    study = study_of(options)
    found = grade_again(study, options.grader)
    page = Paths(study.name).regraded(options.grader, "md")
    print(f"{page}: {', '.join(f'{name} {number:,}' for name, number in found.items())}")


if __name__ == "__main__":
    main()
