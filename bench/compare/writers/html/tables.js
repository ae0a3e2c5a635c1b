// Tables: sorted by their headings, filtered by words.
"use strict";

(() => {
  const FACTORS = { k: 1e3, M: 1e6, G: 1e9 };
  const NUMBER = /^(?:[<>≤≥]\s?)?(-?)(?:(∞)|(\d+(?:\.\d+)?(?:e[+-]?\d+)?)([kMG](?![A-Za-z]))?)/;
  const natural = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  /** The number that a cell begins with; NaN if it begins with none. */
  function valueOf(text) {
    const found = NUMBER.exec(text.trim());
    if (!found) return NaN;
    const size = found[2] ? Infinity : Number(found[3]) * (FACTORS[found[4]] || 1);
    return found[1] ? -size : size;
  }

  /** What a cell is sorted by: its key where it has one, which texts with units and words need. */
  function keyOf(cell, asText) {
    if (cell.dataset.key !== undefined) return Number(cell.dataset.key);
    return asText ? cell.textContent : valueOf(cell.textContent);
  }

  /** Rows without a value come last, whichever way the others are sorted. */
  function sorted(rows, column, asText, sign) {
    const keyed = rows.map((row) => ({ row, key: keyOf(row.cells[column], asText) }));
    if (!asText && keyed.every((each) => Number.isNaN(each.key))) {
      return sorted(rows, column, true, sign);
    }
    const missing = (key) => (asText ? key === "–" : Number.isNaN(key));
    return keyed
      .sort((a, b) => {
        if (missing(a.key) || missing(b.key)) return missing(a.key) - missing(b.key);
        if (asText) return sign * natural.compare(a.key, b.key);
        return a.key === b.key ? 0 : sign * (a.key < b.key ? -1 : 1);
      })
      .map((each) => each.row);
  }

  function makeSortable(table) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      heading.querySelector("button").addEventListener("click", () => {
        const first = heading.dataset.first;
        const second = first === "ascending" ? "descending" : "ascending";
        const now = heading.getAttribute("aria-sort");
        const next = now === "none" ? first : now === first ? second : "none";
        headings.forEach((other) => other.setAttribute("aria-sort", "none"));
        heading.setAttribute("aria-sort", next);
        const isKeyed = original.some((row) => row.cells[column].dataset.key !== undefined);
        const asText = heading.classList.contains("label") && !isKeyed;
        const sign = next === "ascending" ? 1 : -1;
        body.append(...(next === "none" ? original : sorted(original, column, asText, sign)));
      });
    });
  }

  function makeFilterable(box) {
    const field = box.querySelector("input");
    if (!field) return;
    const rows = [...box.querySelector("table").tBodies[0].rows];
    const count = box.querySelector("output");
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row) => {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      });
      count.textContent = words.length ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
    });
  }

  document.querySelectorAll(".table").forEach((box) => {
    makeSortable(box.querySelector("table"));
    makeFilterable(box);
  });
})();
