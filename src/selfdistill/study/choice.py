"""Some of a study: the experiments and models that a command line names, and the figures and tables that they still fill."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from selfdistill.study.shown import runs_shown
from selfdistill.study.study import Study
from selfdistill.study.yaml import StudyError, reject


def some_of(study: Study, experiments: Sequence[str] | None, models: Sequence[str] | None) -> Study:
    """Return the study with some of its experiments and models only.

    experiments: their names; None for all that are not done on request only. models: their keys; None for all. The title says what is left
    out of what is done without request. Raise StudyError for a name that the study does not have, and if nothing is left to do.
    """
    file = study.file
    declared = dict.fromkeys(entry.experiment for entry in file.runs)
    usual = [name for name in declared if name not in file.on_request]
    wanted = usual if experiments is None else experiments
    kept = study.models() if models is None else models
    check_names(study, "experiments", wanted, declared)
    check_names(study, "models", kept, study.models())
    entries = (entry.model_copy(update={"models": of(entry.models, kept)}) for entry in file.runs)
    runs = [entry for entry in entries if entry.experiment in wanted and entry.models]
    section_3 = file.section_3 and file.section_3.model_copy(
        update={"models": of(file.section_3.models, kept)}
    )
    if not (section_3 and section_3.models):
        section_3 = None
    left = {entry.experiment for entry in runs}
    some = changed(
        study,
        title=title_of(
            file.title, of(usual, set(usual) - left), () if set(kept) >= set(study.models()) else kept
        ),
        runs=runs,
        evaluate=of(file.evaluate, kept),
        section_3=section_3,
        off_policy=file.off_policy if section_3 else None,
        figures=filled(file.figures, left),
        tables=filled(file.tables, left),
    )
    if models is None:
        return some
    if not some.models():
        reject(study.path, f"--config models={','.join(models)}", "nothing is left to do")
    lists = {"figures": some.file.figures, "tables": some.file.tables}
    return changed(
        some,
        **{key: {name: own for name, own in lists[key].items() if can_show(some, name)} for key in lists},
    )


def changed(study: Study, **update: Any) -> Study:
    """Return the study with other values of some keys of its file."""
    return replace(study, file=study.file.model_copy(update=update), whole=study.whole or study.file)


def check_names(study: Study, key: str, names: Sequence[str], allowed: Sequence[str]) -> None:
    """Raise StudyError for a name that is not among the allowed ones."""
    for name in names:
        if name not in allowed:
            reject(study.path, f"--config {key}={name}", f"no such {key.removesuffix('s')}", allowed)


def of(names: Sequence[str], kept: Collection[str]) -> list[str]:
    """Return the names that are kept, in their order."""
    return [name for name in names if name in kept]


def filled(lists: Mapping[str, list[str]], left: set[str]) -> dict[str, list[str]]:
    """Return the lists of experiments without those that are left out, and without the lists that nothing is left of."""
    return {key: of(names, left) for key, names in lists.items() if of(names, left) or not names}


def can_show(study: Study, name: str) -> bool:
    """Return whether a figure or table still has what it shows."""
    try:
        runs_shown(study, name)
    except StudyError:
        return False
    return True


def title_of(title: str, missing: Sequence[str], only: Sequence[str]) -> str:
    """Return the title of a study, with the experiments that are missing and the models that are left."""
    said = [f"without {', '.join(missing)}"] if missing else []
    said += [f"{', '.join(only)} only"] if only else []
    return f"{title} ({'; '.join(said)})" if said else title
