"use strict";
// Tables sort and filter here. A cell's number is in data-sort; cells without one are text, or have no value.
const numberOf = (cell) => Number.parseFloat(cell.dataset.sort);
const columnCells = (table, column) => Array.from(table.tBodies[0].rows, (row) => row.cells[column]);
const isNumeric = (table, column) => columnCells(table, column).some((cell) => cell.dataset.sort !== undefined);

// Sort by the number a cell carries, else by its text; cells without a number come last.
function sortTable(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const numeric = isNumeric(table, column);
  const key = (row) => (numeric ? numberOf(row.cells[column]) : row.cells[column].textContent);
  const rows = Array.from(table.tBodies[0].rows).sort((first, second) => {
    const [a, b] = [key(first), key(second)];
    if (numeric && (Number.isNaN(a) || Number.isNaN(b))) return Number.isNaN(a) - Number.isNaN(b);
    const order = numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
    return down ? -order : order;
  });
  table.tBodies[0].replaceChildren(...rows);
}

function makeSortable(table) {
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => sortTable(table, column));
  });
}

// What a filter's text asks of a number: `>40`, `<=0.5`, `40..50`, a plain number (equal as shown). null: not understood.
function numberTest(text) {
  const wanted = text.replaceAll(",", "").replaceAll("−", "-").replace(/\s+/g, "");
  const range = /^(-?[\d.]+)\.\.(-?[\d.]+)$/.exec(wanted);
  if (range) return (value) => value >= Number(range[1]) && value <= Number(range[2]);
  const bound = /^(<=|>=|<|>|=)?([-+]?\d*\.?\d+)$/.exec(wanted);
  if (!bound) return null;
  const limit = Number(bound[2]);
  const digits = (bound[2].split(".")[1] || "").length;
  const tests = { "<": (v) => v < limit, ">": (v) => v > limit, "<=": (v) => v <= limit, ">=": (v) => v >= limit };
  return tests[bound[1]] || ((value) => Math.abs(value - limit) <= 0.5 * 10 ** -digits);
}

// One control for a column: a choice where it holds few different texts, else a field to type in.
function filterControl(table, column, name) {
  const texts = [...new Set(columnCells(table, column).map((cell) => cell.textContent))];
  const numeric = isNumeric(table, column);
  const control = document.createElement(numeric || texts.length > 20 ? "input" : "select");
  if (control.localName === "select") {
    texts.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    control.append(new Option("all", ""), ...texts.map((text) => new Option(text, text)));
  } else {
    control.type = "text";
    control.placeholder = numeric ? ">0, 40..50" : "contains";
  }
  const label = document.createElement("label");
  label.append(name, control);
  const accepts = (cell) => {
    const wanted = control.value.trim();
    const test = numeric && wanted ? numberTest(wanted) : null;
    control.setAttribute("aria-invalid", String(Boolean(numeric && wanted && !test)));
    if (!wanted || (numeric && !test)) return true;
    if (test) return test(numberOf(cell));
    return control.localName === "select"
      ? cell.textContent === wanted
      : cell.textContent.toLowerCase().includes(wanted.toLowerCase());
  };
  return { label, control, accepts };
}

// Filters above a table: they hide rows, say how many are left, and are cleared by one button.
function makeBrowser(table) {
  const heads = Array.from(table.tHead.rows[0].cells, (head) => head.textContent);
  for (const row of table.tBodies[0].rows) {
    heads.forEach((name, column) => {
      row.cells[column].dataset.label = name;
      row.cells[column].classList.toggle("none", row.cells[column].textContent === "–");
    });
  }
  const filters = heads.map((name, column) => filterControl(table, column, name));
  const panel = document.createElement("details");
  panel.className = "filters";
  panel.open = window.matchMedia("(min-width: 700px)").matches;
  const summary = document.createElement("summary");
  summary.textContent = "Filter";
  const fields = document.createElement("div");
  fields.append(...filters.map((filter) => filter.label));
  panel.append(summary, fields);
  const left = document.createElement("p");
  left.className = "note left";
  left.setAttribute("role", "status");
  const clear = document.createElement("button");
  clear.type = "button";
  clear.textContent = "Clear filters";
  const apply = () => {
    const rows = Array.from(table.tBodies[0].rows);
    for (const row of rows) row.hidden = !filters.every((filter, column) => filter.accepts(row.cells[column]));
    left.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} runs`;
    clear.disabled = filters.every((filter) => !filter.control.value);
  };
  for (const { control } of filters) control.addEventListener("input", apply);
  clear.addEventListener("click", () => {
    for (const { control } of filters) control.value = "";
    apply();
  });
  const bar = document.createElement("div");
  bar.className = "filter-state";
  bar.append(left, clear);
  table.closest(".scroll").before(panel, bar);
  apply();
}

for (const table of document.querySelectorAll("table.browser")) makeBrowser(table);
for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
for (const box of document.querySelectorAll(".scroll, .answer pre")) {
  // A region that scrolls must be reachable by the keyboard.
  if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
}
