"""The report page in a real browser: it loads without a complaint, asks for nothing, sorts, filters, fits any width.

Two pages: one made from generated numbers (seconds), and the page of the end-to-end run. Without a Chromium on the
machine the tests are skipped.
"""

import sys
from pathlib import Path

import pandas
import pytest

from selfdistill.records.paths import Paths

from .chromium import find_chromium, open_page

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium on this machine (apt-get install chromium, or set CHROMIUM)"
)
WIDTHS = (400, 1024, 1600)
COLUMN = "Array.from(document.querySelectorAll('#{table} tbody tr'), (row) => Number(row.cells[{column}].dataset.sort))"
SHOWN = "Array.from(document.querySelectorAll('#run-browser tbody tr')).filter((row) => !row.hidden)"
FILTER = """(() => {{
  const labels = Array.from(document.querySelectorAll('.filters label'));
  const control = labels.find((label) => label.firstChild.textContent === '{name}').querySelector('input, select');
  control.value = '{value}';
  control.dispatchEvent(new Event('input', {{ bubbles: true }}));
  return control.getAttribute('aria-invalid');
}})()"""


def generated_page(folder: Path) -> Path:
    """A page of generated numbers, made as in tests/unit."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
    from synthetic_study import STUDY, draw, reported_on, samples_frame, study, table

    from selfdistill.report.page import Report, build_report, pick_examples
    from selfdistill.report.style import save_figure
    from selfdistill.study.displays import FIGURES, TABLES
    from selfdistill.study.shown import example_runs, run_keys

    data, samples = reported_on(study()), samples_frame(1)
    figure, caption = draw("figure6")
    png = folder / "figure6.png"
    save_figure(figure, png, folder / "figure6.svg")
    costs = [("train_grpo", 10.0, 100.0, 5e3), ("estimate", 30.0, 200.0, float("nan"))]
    questions = dict.fromkeys(samples["problem_id"], "find x : x +2 = 7")
    report = Report(
        study="generated",
        data=data,
        figures={"figure6": (FIGURES["figure6"].title, png, caption)},
        tables={name: table(name).to_html() for name in TABLES},
        costs=pandas.DataFrame(costs, columns=["rule", "seconds", "max_rss_mb", "tokens"]),
        examples=pick_examples(samples, questions, run_keys(example_runs(STUDY)), "longer"),
    )
    page = folder / "report.html"
    page.write_text(build_report(report), encoding="utf-8")
    return page


@pytest.fixture(scope="module", params=["generated", "end-to-end"])
def page(request, tmp_path_factory):
    """The report, open in a browser at 1600 px."""
    folder = tmp_path_factory.mktemp("browser")
    made = {
        "generated": lambda: generated_page(folder),
        "end-to-end": lambda: request.getfixturevalue("finished").root / Paths("test").report,
    }
    path = made[request.param]()
    with open_page(folder) as browser:
        browser.resize(1600)
        browser.open(path.as_uri())
        yield browser


def test_a_bad_page_would_be_noticed(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<div style='width: 3000px'>wide</div><img src='http://127.0.0.1:9/none.png'>"
        "<script>console.warn('odd'); throw new Error('broken')</script>"
    )
    with open_page(tmp_path) as browser:
        browser.resize(400)
        browser.open(bad.as_uri())
        assert len(browser.trouble) >= 3, "a warning, an exception, a failed load"
        assert "http://127.0.0.1:9/none.png" in browser.requests
        assert browser.evaluate("document.images[0].naturalWidth") == 0
        assert browser.evaluate("document.documentElement.scrollWidth") > 400


def test_no_complaint_and_no_request(page):
    assert page.trouble == []
    loaded = [url for url in page.requests if not url.startswith("data:")]
    assert len(loaded) == 1 and loaded[0].startswith("file:///"), (
        "the page itself, and nothing from the network"
    )


def test_every_image_loads(page):
    sizes = page.evaluate("Array.from(document.images, (image) => image.naturalWidth)")
    assert sizes and min(sizes) > 100


@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_as_wide_as_the_window(page, width):
    page.resize(width)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('main').getBoundingClientRect().right") <= width
    page.resize(1600)


def test_a_click_sorts_and_a_second_one_turns_the_order(page):
    heads = page.evaluate(
        "Array.from(document.querySelectorAll('#run-browser thead th'), (head) => head.textContent)"
    )
    column = heads.index("In domain")
    script = COLUMN.format(table="run-browser", column=column)
    before = page.evaluate(script)
    click = f"document.querySelectorAll('#run-browser thead button')[{column}].click()"
    page.evaluate(click)
    rising = page.evaluate(script)
    assert rising == sorted(before) and rising != before, "the order changed"
    page.evaluate(click)
    assert page.evaluate(script) == sorted(before, reverse=True)
    state = f"document.querySelectorAll('#run-browser thead th')[{column}].getAttribute('aria-sort')"
    assert page.evaluate(state) == "descending"


def test_every_table_sorts_by_keyboard(page):
    for table in page.evaluate(
        "Array.from(document.querySelectorAll('table.sortable'), (table) => table.id)"
    ):
        head = f"document.querySelector('#{table} thead th')"
        page.evaluate(f"{head}.removeAttribute('aria-sort')")
        page.evaluate(f"{head}.querySelector('button').focus()")
        page.press("Enter", 13, "\r")
        assert page.evaluate(f"{head}.getAttribute('aria-sort')") == "ascending", table


def test_filters_narrow_the_runs_and_are_cleared(page):
    everything = page.evaluate(f"{SHOWN}.length")
    page.evaluate(FILTER.format(name="Method", value="sdpo"))
    methods = page.evaluate(f"{SHOWN}.map((row) => row.cells[1].textContent)")
    assert set(methods) == {"sdpo"} and 0 < len(methods) < everything
    assert (
        page.evaluate("document.querySelector('.left').textContent") == f"{len(methods)} of {everything} runs"
    )
    page.evaluate(FILTER.format(name="In domain", value="<0"))
    assert page.evaluate(f"{SHOWN}.length") == 0
    assert page.evaluate(FILTER.format(name="In domain", value=">=0")) == "false"
    assert page.evaluate(f"{SHOWN}.length") == len(methods)
    assert page.evaluate(FILTER.format(name="In domain", value="high")) == "true"
    page.evaluate("document.querySelector('.filter-state button').click()")
    assert page.evaluate(f"{SHOWN}.length") == everything


def test_using_the_page_raised_no_complaint(page):
    assert page.trouble == []
    assert not [url for url in page.requests if url.startswith("http")]
