// Tables sort by a click, or by Enter, on a heading: numbers by value, intervals by their mean, other text by its letters.
for (const table of document.querySelectorAll("table.sortable")) {
  const value = (row, place) => {
    const text = row.cells[place].innerText.trim();
    const found = text.replaceAll("−", "-").match(/^[<+]?\s*(-?[\d.]+(?:e[+-]?\d+)?)\s*([kMGT]?)/);
    return found ? parseFloat(found[1]) * ({k: 1e3, M: 1e6, G: 1e9, T: 1e12}[found[2]] || 1) : text.toLowerCase();
  };
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map((row) => [value(row, place), row]);
      rows.sort(([a], [b]) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1) * (down ? -1 : 1));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}
