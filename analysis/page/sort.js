// A click on a header sorts its table by that column, another one turns the order round.
for (const header of document.querySelectorAll("thead th")) {
  header.tabIndex = 0;
  const sort = () => {
    const body = header.closest("table").tBodies[0];
    const column = header.cellIndex;
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const text = (row) => row.cells[column].textContent.trim();
    // "98.05 \u00b1 0.84" goes by 98.05; cells without a number stay at the end
    const number = (row) => parseFloat(text(row).replace("\u2212", "-"));
    const rows = [...body.rows];
    const numeric = rows.some((row) => !Number.isNaN(number(row)));
    const compare = (a, b) => {
      if (!numeric) return text(a).localeCompare(text(b)) * (down ? -1 : 1);
      const [x, y] = [number(a), number(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return down ? y - x : x - y;
    };
    body.append(...rows.sort(compare));
  };
  header.addEventListener("click", sort);
  header.addEventListener("keydown", (event) => event.key === "Enter" && sort());
}
