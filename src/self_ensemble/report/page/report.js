"use strict";
// Without this script the page is a plain document: all rows, all examples, in their order.

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    header.setAttribute("aria-sort", "none");
    const isNumber = header.classList.contains("number");
    button.addEventListener("click", () => {
      // The first press shows the largest number, or the first name.
      const was = header.getAttribute("aria-sort");
      const first = isNumber ? "descending" : "ascending";
      const now = was === "none" ? first : was === "ascending" ? "descending" : "ascending";
      for (const other of headers) other.setAttribute("aria-sort", "none");
      header.setAttribute("aria-sort", now);
      const sign = now === "ascending" ? 1 : -1;
      const value = (row) => row.cells[column].dataset.sort;
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        // What is not known stays below, whichever way.
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (isNumber ? Number(x) - Number(y) : x.localeCompare(y, "en", { numeric: true }));
      });
      body.append(...rows);
    });
  });
}

for (const controls of document.querySelectorAll(".controls")) {
  const list = controls.nextElementSibling;
  const examples = [...list.querySelectorAll(".example")];
  const texts = examples.map((one) => one.textContent.toLowerCase());
  const search = controls.querySelector("input");
  const kinds = [...controls.querySelectorAll("[data-kind]")];
  const count = controls.querySelector(".count");
  const openAll = controls.querySelector(".open-all");
  const show = () => {
    const wanted = search.value.trim().toLowerCase();
    const kind = kinds.find((button) => button.getAttribute("aria-pressed") === "true").dataset.kind;
    let shown = 0;
    examples.forEach((one, place) => {
      const fits = texts[place].includes(wanted) && (!kind || one.dataset.kinds.split(" ").includes(kind));
      one.hidden = !fits;
      shown += fits;
    });
    count.textContent = `${shown} of ${examples.length} shown`;
  };
  for (const button of kinds) {
    button.addEventListener("click", () => {
      for (const other of kinds) other.setAttribute("aria-pressed", String(other === button));
      show();
    });
  }
  search.addEventListener("input", show);
  openAll.addEventListener("click", () => {
    const open = openAll.getAttribute("aria-pressed") !== "true";
    openAll.setAttribute("aria-pressed", String(open));
    for (const one of examples) one.open = open;
  });
  controls.hidden = false;
  show();
}

// On paper nothing can be opened.
const opened = [];
addEventListener("beforeprint", () => {
  const closed = document.querySelectorAll(".example:not([open]), .folded:has(table):not([open])");
  for (const one of closed) one.open = true;
  opened.push(...closed);
});
addEventListener("afterprint", () => {
  for (const one of opened.splice(0)) one.open = false;
});
