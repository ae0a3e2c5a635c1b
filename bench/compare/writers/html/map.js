// The map: cells say their sentence, buttons choose models and price, sliders look up a budget.
"use strict";

(() => {
  const section = document.getElementById("map");
  const { said, groups } = JSON.parse(document.getElementById("map-data").textContent);
  const views = [...section.querySelectorAll(".group")];
  let group = 0;

  const sentence = (places) => places.map((place) => said[place]).join(" ");
  const hint = section.querySelector(".said").textContent;

  /** Show the text of a cell below its table. */
  function say(square) {
    let below = square.closest(".of-price");
    while (!below.matches(".said")) below = below.nextElementSibling;
    const text = sentence(square.dataset.said.split(" ").map(Number));
    if (below.textContent !== text) below.textContent = text;
    section.querySelectorAll(".squares .chosen").forEach((old) => old.classList.remove("chosen"));
    square.classList.add("chosen");
  }

  /** Move the focus between the cells of a table, of which one is a tab stop. */
  function move(event, table) {
    const at = event.target.closest("td");
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (!at || !by[event.key]) return;
    const [rows, columns] = by[event.key];
    const row = table.rows[at.parentElement.rowIndex + rows];
    const next = row?.cells[at.cellIndex + columns]?.querySelector("button");
    event.preventDefault();
    if (!next) return;
    at.querySelector("button").tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  section.querySelectorAll(".squares").forEach((table) => {
    for (const event of ["click", "focusin", "mouseover"]) {
      table.addEventListener(event, ({ target }) => {
        const square = target.closest("button");
        if (square) say(square);
      });
    }
    table.addEventListener("keydown", (event) => move(event, table));
  });

  /** One of the buttons of a switch is pressed at a time. */
  function choice(name, choose) {
    const buttons = [...section.querySelectorAll(`[data-choice="${name}"] button`)];
    buttons.forEach((button, k) => {
      button.addEventListener("click", () => {
        buttons.forEach((other) => other.setAttribute("aria-pressed", other === button));
        section.querySelectorAll(".said").forEach((text) => (text.textContent = hint));
        choose(k);
      });
    });
  }
  choice("price", (price) => {
    section.querySelectorAll(".said").forEach((text) => {
      let table = text;
      const tables = [];
      while ((table = table.previousElementSibling)?.matches(".of-price")) tables.unshift(table);
      tables.forEach((each, k) => (each.hidden = k !== price));
    });
  });
  choice("group", (chosen) => {
    group = chosen;
    views.forEach((view, k) => (view.hidden = k !== chosen));
    fillSizes();
  });

  const box = section.querySelector(".at-budget");
  const sizes = box.querySelector("select");
  const sliders = [...box.querySelectorAll("input")];
  const outputs = [...box.querySelectorAll("output")];
  const [nearest, outside] = box.querySelectorAll(".found p");
  const [chip, verdict] = box.querySelector(".verdict").children;
  const panel = () => groups[group][sizes.selectedIndex];
  const stops = () => [panel().budgets, panel().images, panel().prices];

  /** The distance of two numbers of images; null is a number that is larger than any other. */
  function apart(a, b) {
    if (a === null || b === null) return a === b ? 0 : Infinity;
    return Math.abs(Math.log(a / b));
  }

  /** The measured cell nearest in the number of images and, of these, in the budget. */
  function nearestCell(budget, images) {
    let best = null;
    for (const row of panel().rows) {
      for (const column of row.columns) {
        const distance = [apart(images, row.images), apart(budget, column.budget)];
        const [far, near] = best?.distance ?? [Infinity, Infinity];
        if (!best || distance[0] < far || (distance[0] === far && distance[1] < near)) {
          best = { row, column, distance };
        }
      }
    }
    return best;
  }

  /** What a choice leaves the measured range in; nothing inside of it. */
  function beyond(row, budget, images) {
    const { smallest, largest, rows, asks } = panel();
    const found = [];
    if (budget < row.columns[0].budget || budget > row.columns.at(-1).budget) {
      found.push(`${asks.toLowerCase()} was ${row.span} with ${row.title}`);
    }
    if (images !== null && ((smallest && images < smallest) || (largest && images > largest))) {
      const ends = [...new Set([rows[0].title, rows.at(-1).title])];
      found.push(`models were trained on ${ends.join(" to ")}`);
    }
    return found;
  }

  /** Show what is known at the chosen size, budget, number of images and price. */
  function update() {
    const chosen = stops().map((of, k) => of[sliders[k].value]);
    chosen.forEach(([, words], k) => {
      outputs[k].textContent = words;
      sliders[k].setAttribute("aria-valuetext", words);
    });
    const [[budget], [images], [price, priceWords]] = chosen;
    const { row, column } = nearestCell(budget, images);
    const at = price === null ? row.prices.length : row.prices.findLastIndex((p) => p <= price);
    const found = beyond(row, budget, images);
    nearest.textContent = `Nearest measured: ${column.title}, ${row.title}, ${panel().title}.`;
    verdict.textContent =
      at < 0
        ? `No model that was measured samples for ${priceWords}.`
        : sentence(column.said[at]);
    chip.hidden = at < 0;
    if (at >= 0) [chip.className, chip.textContent] = column.looks[at].map((k) => said[k]);
    if (at < 0) found.push("no sampler is as cheap");
    outside.textContent = found.length ? `Outside of what was measured: ${found.join("; ")}.` : "";
    views[group].querySelectorAll(".here").forEach((old) => old.classList.remove("here"));
    const place = `${panel().place} ${row.place} ${column.place}`;
    views[group]
      .querySelectorAll(`[data-place="${place}"]`)
      .forEach((square) => square.classList.add("here"));
  }

  /** Set the sliders to the largest budget and all images that were measured, at any price. */
  function reset() {
    const of = panel();
    const row = of.rows.at(-1);
    const start = [row.columns.at(-1).budget, row.images, null];
    box.querySelector("label[for]").textContent = of.asks;
    stops().forEach((all, k) => {
      sliders[k].max = all.length - 1;
      sliders[k].disabled = all.length < 2;
      sliders[k].value = all.findIndex(([value]) => value === start[k]);
    });
    update();
  }

  /** Offer the sizes of the chosen group. */
  function fillSizes() {
    const before = sizes.value;
    sizes.replaceChildren(
      ...groups[group].map(({ title }) => {
        const option = document.createElement("option");
        option.textContent = title;
        return option;
      }),
    );
    const again = groups[group].findIndex(({ title }) => title === before);
    sizes.selectedIndex = again < 0 ? groups[group].length - 1 : again;
    sizes.parentElement.hidden = groups[group].length < 2;
    reset();
  }

  sliders.forEach((slider) => slider.addEventListener("input", update));
  sizes.addEventListener("change", reset);
  fillSizes();
  box.hidden = false;
})();
