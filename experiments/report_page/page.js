"use strict";

// Before and after: the line is the left edge of what is seen of the right picture.
for (const figure of document.querySelectorAll(".comparison")) {
  const pictures = [...figure.querySelectorAll(".stage img")];
  const line = figure.querySelector("input");
  const sides = [...figure.querySelectorAll("select")];
  if (!line) continue;
  const named = (side) => side.selectedOptions[0].textContent;
  const draw = () => {
    const [left, right] = sides.map((side) => Number(side.value));
    pictures.forEach((picture, number) => {
      picture.className = number === left ? "left" : number === right ? "right" : "away";
    });
    figure.style.setProperty("--cut", `${line.value}%`);
    line.setAttribute("aria-valuetext",
      `${line.value} % ${named(sides[0])}, ${100 - line.value} % ${named(sides[1])}`);
  };
  let before = sides.map((side) => side.value);
  for (const side of sides) {
    side.addEventListener("change", () => {
      // One picture on both sides would show nothing: the other side takes what was here.
      const other = sides[1 - sides.indexOf(side)];
      if (other.value === side.value) other.value = before[sides.indexOf(side)];
      before = sides.map((each) => each.value);
      draw();
    });
  }
  line.addEventListener("input", draw);
  draw();
}

// Maps over restorations.
for (const figure of document.querySelectorAll(".overlay")) {
  const maps = [...figure.querySelectorAll(".map")];
  const opacity = figure.querySelector("input[type=range]");
  const draw = () => {
    const chosen = figure.querySelector("input[type=radio]:checked");
    maps.forEach((map, number) => {
      map.classList.toggle("away", number !== (chosen ? Number(chosen.value) : 0));
    });
    figure.style.setProperty("--opacity", opacity.value / 100);
  };
  figure.addEventListener("input", draw);
  draw();
}

// Columns are sorted by their numbers, or by their words where there are none.
for (const table of document.querySelectorAll(".sortable")) {
  const body = table.tBodies[0];
  if (body.rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const text = (row) => row.cells[column].textContent.trim();
      const compare = (one, two) => {
        const [first, second] = [one, two].map((row) => parseFloat(text(row)));
        // What has no number comes last, either way.
        if (isNaN(first) !== isNaN(second)) return isNaN(first) ? 1 : -1;
        const order = isNaN(first) ? text(one).localeCompare(text(two)) : first - second;
        return down ? -order : order;
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}
