"""The table of measured richness: nats that each context tells about the base's own correct responses, and where."""

from __future__ import annotations

from selfdistill.report.figures.words import contexts_in
from selfdistill.report.study_data import CONTEXTS, StudyData, select
from selfdistill.report.style import CONTEXT_SYMBOLS
from selfdistill.report.tables.form import Entry, TableParts, counts_note, estimated
from selfdistill.statistics.richness import AT


def richness_table(data: StudyData) -> TableParts:
    """Return nats per response, per token and per position class, of responses under the context and of unguided ones."""
    rows = []
    found = select(data.richness, "richness", metric="nats")
    for model in data.ordered(found["model"].unique()):
        for context in contexts_in(found)[1:]:
            for written in (context, CONTEXTS[0]):
                numbers = {"model": model, "context": context, "written": written}
                row = {
                    "Model": Entry(data.label(model)),
                    "Context": Entry(f"{context} ({CONTEXT_SYMBOLS[context]})"),
                    "Responses": Entry("unguided" if written == CONTEXTS[0] else "under the context"),
                    "Nats per response": estimated(data.richness, "nats", 2, **numbers),
                    "Nats per token": estimated(data.richness, "nats_per_token", 3, **numbers),
                }
                at = {
                    f"At {position}": estimated(data.richness, AT[position], 2, **numbers) for position in AT
                }
                rows.append(row | at)
    note = (
        "Mean of log p(y | x, c) - log p(y | x) in nats over correct responses y of the base. Under the context: an upper bound of I(y; c | x). "
        "Unguided, without the response from which the contexts are made: at most -log P(correct | x), and below 0 where the context makes the "
        "base write in another way. Position classes add up to nats per response; nats per token are those of all responses over all their "
        f"tokens. {counts_note(rows)}"
    )
    return rows, note
