"use strict";
// Tables sort by the number a cell carries (data-sort), else by its text; cells without a number come last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = Array.from(body.rows);
      const numeric = rows.some((row) => row.cells[column].dataset.sort !== undefined);
      const key = (row) => numeric ? Number.parseFloat(row.cells[column].dataset.sort) : row.cells[column].textContent;
      rows.sort((first, second) => {
        const [a, b] = [key(first), key(second)];
        if (numeric && (Number.isNaN(a) || Number.isNaN(b))) return Number.isNaN(a) - Number.isNaN(b);
        const order = numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
        return down ? -order : order;
      });
      body.replaceChildren(...rows);
    });
  });
}
