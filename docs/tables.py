"""Write the tables of docs/experiments and of other pages from the published results.

    python docs/tables.py            # rewrite the tables
    python docs/tables.py --check    # say which pages are out of date, and fail if there are any

A page holds blocks that begin with `<!-- table: KIND; ARGUMENT; ... -->` and end with `<!-- end -->`. What stands between is written here:

claims     the claims with these names and those of their parts that decide the verdict (docs/results/STUDY/claims.md)
runs       the runs with these names in docs/results/mini/main-results.md, of all models that have the first of them
summary    the sentences at the head of the ledger of a study (docs/results/STUDY/claims.md)
effects    the changes of accuracy by the runs with these names, all models (docs/results/mini/main-results.md)
caption    the caption of a picture of docs/results: NAME of the mini study, or STUDY/NAME
published  a table of docs/results as it is, named in the same way
earlier    the verdicts of config/earlier_verdicts.yaml
reported   what config/reported.yaml holds for these figures and tables, each number with its confidence mark
recommendations   config/recommendations.yaml, each advice as the published verdicts have it
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import yaml

from selfdistill.claims.ledger import load_ledger
from selfdistill.claims.recommendations import clause_names, load_recommendations
from selfdistill.report.recommendations import recommendations_text

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "docs/results"
RESULTS = STUDIES / "mini"
PAGES = [
    *sorted((ROOT / "docs/experiments").glob("*.md")),
    *(
        ROOT / f"docs/{name}.md"
        for name in ("results", "diagnosis", "ledger_changes", "recommendations", "beyond")
    ),
]
BLOCK = re.compile(r"(<!-- table: (?P<arguments>.*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def cells(line: str) -> list[str]:
    r"""Return the cells of a row of a Markdown table; `\|` does not end one."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def rows_of(text: str) -> list[list[str]]:
    """Return the rows of the only table in `text`, without its head."""
    return [cells(line) for line in text.splitlines() if line.startswith("|")][2:]


def escaped(text: str) -> str:
    r"""Return `text` with `|` written so that it does not end a cell."""
    return re.sub(r"(?<!\\)\|", r"\|", text)


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def claim_rows(section: str) -> Iterator[list[str]]:
    """Yield the row of a claim, from its section of claims.md, and those of its deciding parts."""
    head, statement, sources, *parts = re.split(r"\n\n+", section.strip())
    name, verdict = head.split(" ", 1)
    paper, _, held = sources.removeprefix("The paper ").rpartition(". ")
    yield [f"**{name}.** {escaped(statement)}", held.rstrip("."), verdict, escaped(paper)]
    for part, model, measure, claimed, effect, *_, verdict in rows_of("\n".join(parts)):
        if not part.startswith("("):
            yield [f"{part}: {model}, {measure}; claimed {claimed}", effect, verdict, ""]


def summary(study: str) -> str:
    """Return the list that says how many claims of a published study hold, which do not, and what stays open."""
    head = (STUDIES / study / "claims.md").read_text(encoding="utf-8").split("\n\n|")[0]
    return head.partition("\n\n")[2].strip()


def claims(*names: str) -> str:
    """Return the table of the claims `names`: the paper's words in the last column, ours before."""
    ledgers = (path.read_text(encoding="utf-8") for path in sorted(STUDIES.glob("*/claims.md")))
    sections = [section for ledger in ledgers for section in ledger.split("\n## ")[1:]]
    by_name = {section.split(" ", 1)[0]: section for section in sections}
    rows = [row for name in names for row in claim_rows(by_name[name])]
    return table(["claim and parts", "ours, 95 % interval", "verdict", "the paper"], rows)


def runs(first: str, *others: str) -> str:
    """Return rows of main-results.md, with its note: the runs that are named and the base, of all models that have the first one."""
    text = (RESULTS / "main-results.md").read_text(encoding="utf-8")
    found = rows_of(text)
    unknown = {first, *others} - {row[1] for row in found}
    if unknown:
        raise KeyError(f"main-results.md has no run {', '.join(sorted(unknown))}")
    models = {row[0] for row in found if row[1] == first}
    kept = [row for row in found if row[0] in models and row[1] in ("base", first, *others)]
    head = cells(next(line for line in text.splitlines() if line.startswith("|")))
    return f"{table(head, kept)}\n\n{text.strip().splitlines()[-1]}"


def effects(*names: str) -> str:
    """Return accuracies of the bases, and their changes by the runs `names` on the broad domain: in domain / OOD mean, with intervals."""
    text = (RESULTS / "main-results.md").read_text(encoding="utf-8")
    changes: dict[str, dict[str, str]] = {}
    for model, run, data, coverage, inside, change, ood, ood_change, *_ in rows_of(text):
        if run == "base":
            changes.setdefault(model, {})[run] = f"{inside} / {ood}"
        elif (data, coverage) == ("chain", "full"):
            changes.setdefault(model, {})[run] = f"{change} / {ood_change}"
    columns = ("base", *names)
    rows = ([model, *(own.get(name, "–") for name in columns)] for model, own in changes.items())
    return f"{table(['in domain / OOD', *columns], rows)}\n\n{text.strip().splitlines()[-1]}"


def published(name: str) -> str:
    """Return a published table with its note, without its heading."""
    return text_of(name, "md").partition("\n\n")[2].strip()


def caption(name: str) -> str:
    """Return the caption of a published picture."""
    return f"*{text_of(name, 'txt').strip()}*"


def text_of(name: str, suffix: str) -> str:
    """Return the text of a published file; name: of the mini study, or STUDY/NAME."""
    folder = STUDIES if "/" in name else RESULTS
    return (folder / f"{name}.{suffix}").read_text(encoding="utf-8")


def earlier() -> str:
    """Return the verdicts of the earlier rule beside those of the published ledger, with what is different now and why."""
    content = yaml.safe_load((ROOT / "config/earlier_verdicts.yaml").read_text(encoding="utf-8"))
    record = json.loads((RESULTS / "claims.json").read_text(encoding="utf-8"))
    now = {claim["name"]: verdicts_text(claim) for claim in record["claims"]}
    rows = [
        [name, entry["verdict"], now[name], escaped(entry["rule"]), escaped(entry["reason"])]
        for name, entry in content["claims"].items()
    ]
    return table(["claim", "earlier verdict", "verdict now", "new rule", "reason"], rows)


def verdicts_text(claim: dict) -> str:
    """Return the verdict on a claim and, if it has several clauses, on each of them."""
    clauses = claim.get("clauses", [])
    each = ", ".join(f"{clause['name']} {clause['verdict']}" for clause in clauses)
    return f"{claim['verdict']} ({each})" if len(clauses) > 1 else claim["verdict"]


def reported(*places: str) -> str:
    """Return what the paper reports in the places that our figures and tables `places` show."""
    content = yaml.safe_load((ROOT / "config/reported.yaml").read_text(encoding="utf-8"))
    entries = [entry for entry in content["entries"] if entry["place"] in places]
    rows = [[entry["paper"], subject(entry), entry["quantity"], value_of(entry)] for entry in entries]
    marks = "; ".join(f"{mark} {meaning}" for mark, meaning in content["marks"].items())
    return f"{table(['in the paper', 'of', 'quantity', 'value [mark]'], rows)}\n\nMarks: {marks}."


def subject(entry: dict) -> str:
    """Return what an entry of reported.yaml is about: model, method, context, coverage, benchmark."""
    coverage = rf"\|D\| = {entry['coverage']}" if entry.get("coverage") else None
    names = (entry.get(key) for key in ("dataset", "model", "method", "context", "teacher", "benchmark"))
    return ", ".join(str(name) for name in (*names, coverage) if name not in (None, "none"))


def value_of(entry: dict) -> str:
    """Return the value of an entry with its mark; of a curve its first and last point."""
    mark = entry["mark"] + (f", ± {entry['error']}" if "error" in entry else "")
    note = f" ({entry['note']})" if "note" in entry else ""
    return f"{number_of(entry)} [{mark}]{note}"


def number_of(entry: dict) -> str:
    """Return the number, words or course that an entry of reported.yaml holds."""
    if "words" in entry:
        return ", ".join(f"{word} {count}" for word, count in entry["words"].items())
    if "values" in entry:
        steps, values = entry["steps"], entry["values"]
        return f"{values[0]} at step {steps[0]} → {values[-1]} at step {steps[-1]}"
    if entry.get("value") is None:
        return entry.get("text", "no number known")
    return str(entry["value"])


def recommendations() -> str:
    """Return what to do, by the verdicts in docs/results; ledgers of the earlier rule, which have no clauses, count as not run."""
    clauses = clause_names(load_ledger(path) for path in sorted((ROOT / "config").glob("claims*.yaml")))
    found = load_recommendations(ROOT / "config/recommendations.yaml", clauses)
    records = {
        f"results/{path.parent.name}/claims.md": json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(STUDIES.glob("*/claims.json"))
    }
    judged = {page: record for page, record in records.items() if "clauses" in record["claims"][0]}
    return recommendations_text(found, clauses, judged)


KINDS: dict[str, Callable[..., str]] = {
    "summary": summary,
    "claims": claims,
    "runs": runs,
    "effects": effects,
    "published": published,
    "caption": caption,
    "earlier": earlier,
    "reported": reported,
    "recommendations": recommendations,
}


def written(text: str) -> str:
    """Return the text of a page with all of its tables written anew."""

    def block(match: re.Match) -> str:
        kind, *names = [part.strip() for part in match["arguments"].split(";")]
        return f"{match[1]}\n{KINDS[kind](*names)}\n\n{match[3]}"

    return BLOCK.sub(block, text)


def stale_pages() -> list[Path]:
    """Return the pages whose tables are not those that this script would write."""
    return [page for page in PAGES if (text := page.read_text(encoding="utf-8")) != written(text)]


def main(arguments: list[str]) -> int:
    """Rewrite the pages that are out of date, or only name them."""
    stale = stale_pages()
    check = arguments == ["--check"]
    for page in stale:
        print(f"{page.relative_to(ROOT)}: {'out of date, run python docs/tables.py' if check else 'written'}")
        if not check:
            page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
