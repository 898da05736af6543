"""What others measured since, as the claims ledger shows it: a short count, and a list of the measurements of a claim."""

from __future__ import annotations

import html

from selfdistill.claims.elsewhere import readings_text
from selfdistill.report.forest import Record
from selfdistill.report.tables.form import NO_VALUE


def elsewhere_text(claim: Record) -> str:
    """Return how many measurements of others are for and against a claim, `–` for none."""
    return readings_text(claim["elsewhere"]) or NO_VALUE


def reading_text(one: Record) -> str:
    """Return what a measurement of others says of a claim: `supports a`."""
    return f"{one['reading']} {one['clause']}".strip()


def elsewhere_lines(claim: Record) -> list[str]:
    """Return what others measured, in Markdown; nothing if there is none."""
    if not claim["elsewhere"]:
        return []
    items = [
        f"- {reading_text(one)}: [{one['who']}]({one['link']}), {one['text']}" for one in claim["elsewhere"]
    ]
    return [f"Elsewhere: {elsewhere_text(claim)}.", "", *items, ""]


def html_elsewhere(claim: Record) -> str:
    """Return what others measured as a list, `""` if there is nothing. Sources are text: the page asks no other host for anything."""
    texts = [
        f"{reading_text(one)}: {one['who']} ({one['source']}), {one['text']}" for one in claim["elsewhere"]
    ]
    items = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    return f"<p>Elsewhere: {html.escape(elsewhere_text(claim))}.</p><ul>{items}</ul>" if items else ""
