// Sorts and filters a manifest's tables where they stand.
"use strict";

(() => {
  const compare = new Intl.Collator(undefined, { numeric: true }).compare;

  document.querySelectorAll("table[data-sortable]").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    heads.forEach((head, place) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const numbers = "number" in button.dataset;
        // Numbers are looked at from the largest on.
        const first = numbers ? "descending" : "ascending";
        const other = numbers ? "ascending" : "descending";
        const order = head.getAttribute("aria-sort") === first ? other : first;
        const value = (row) => row.cells[place].dataset.value ?? row.cells[place].textContent;
        const rows = [...body.rows].sort((a, b) =>
          numbers ? Number(value(a)) - Number(value(b)) : compare(value(a), value(b)),
        );
        if (order === "descending") rows.reverse();
        body.append(...rows);
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", order);
      });
    });
  });

  document.querySelectorAll("[data-filters]").forEach((input) => {
    const table = document.getElementById(input.dataset.filters);
    const none = table.parentElement.querySelector("[data-none]");
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
        shown += row.hidden ? 0 : 1;
      }
      none.hidden = shown > 0;
    });
  });
})();
