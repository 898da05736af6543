"""Grades all stored samples of a study again by another grader, without a model, and says what changes.

`python -m selfdistill.commands.regrade --study mini --grader authors-eval`, or `snakemake regrade --config grader=authors-eval`. Written
are results/STUDY/regraded/GRADER.md (what changes) and .csv (every number).
"""

import argparse
from collections.abc import Sequence

from selfdistill.records.paths import Paths
from selfdistill.report.regraded import grade_again
from selfdistill.study.load import study_from_config
from selfdistill.vocabulary.graders import GRADERS


def main(arguments: Sequence[str] | None = None) -> None:
    """Grade a study again and print what changed."""
    parser = argparse.ArgumentParser(prog="python -m selfdistill.commands.regrade", description=__doc__)
    parser.add_argument("--study", default="mini", help="name of the study, or path of its file")
    parser.add_argument("--seeds", help="seeds where they differ from the study's, such as 0,1,2")
    parser.add_argument("--grader", required=True, choices=[name for name in GRADERS if name != "mcq"])
    options = parser.parse_args(arguments)
    study = study_from_config({"study": options.study, "seeds": options.seeds})
    found = grade_again(study, options.grader)
    page = Paths(study.name).regraded(options.grader, "md")
    print(f"{page}: {', '.join(f'{name} {number:,}' for name, number in found.items())}")


if __name__ == "__main__":
    main()
