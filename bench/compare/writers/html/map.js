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
  const sizes = box.querySelector(".size select");
  const runs = box.querySelector(".runs select");
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

  /** The item at the smallest distance, the first of several. */
  function nearestOf(items, distance) {
    return items.reduce((best, item) => (distance(item) < distance(best) ? item : best));
  }

  /** The rows of one number of images, the nearest one that was measured. */
  function nearestRows(images) {
    const { rows } = panel();
    const best = nearestOf(rows, (row) => apart(images, row.images));
    return rows.filter((row) => row.images === best.images);
  }

  /** Options of a choice, of titles and of values that are theirs in other versions of the page. */
  function offer(select, items, keyOf) {
    select.replaceChildren(...items.map((item) => new Option(item.title, keyOf(item))));
  }

  let offered = null;

  /** Offer the choice of rows of as many images; the headline's, or else the last one, is set. */
  function offerRuns(rows) {
    if (offered === rows[0]) return;
    offered = rows[0];
    offer(runs, rows, ({ title }) => title);
    const start = rows.findIndex(({ place }) => place === panel().start[0]);
    runs.selectedIndex = start < 0 ? rows.length - 1 : start;
    runs.disabled = rows.length < 2;
  }

  /** What a choice leaves the measured range in; nothing inside of it. */
  function beyond(row, budget, images) {
    const { smallest, largest, rows } = panel();
    const found = [];
    if (budget < row.columns[0].budget || budget > row.columns.at(-1).budget) {
      found.push(row.measured);
    }
    if (images !== null && ((smallest && images < smallest) || (largest && images > largest))) {
      const ends = [...new Set([rows[0].trained_on, rows.at(-1).trained_on])];
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
      sliders[k].dataset.amount = chosen[k][0] ?? "";
    });
    const [[budget], [images], [price, priceWords]] = chosen;
    const rows = nearestRows(images);
    offerRuns(rows);
    const row = rows[runs.selectedIndex];
    const column = nearestOf(row.columns, (each) => apart(budget, each.budget));
    const at = price === null ? row.prices.length : row.prices.findLastIndex((p) => p <= price);
    const found = beyond(row, budget, images);
    nearest.textContent = `Nearest measured: ${column.title}, ${row.title}, ${panel().title}.`;
    verdict.textContent =
      at < 0
        ? `With ${row.title}, no model that stands for a family takes ${priceWords} for a sample.`
        : sentence(column.said[at]);
    chip.hidden = at < 0;
    if (at >= 0) [chip.className, chip.textContent] = column.looks[at].map((k) => said[k]);
    if (at < 0) found.push(`no sampler is as cheap with ${row.title}`);
    outside.textContent = found.length ? `Outside of what was measured: ${found.join("; ")}.` : "";
    views[group].querySelectorAll(".here").forEach((old) => old.classList.remove("here"));
    const place = `${panel().place} ${row.place} ${column.place}`;
    views[group]
      .querySelectorAll(`[data-place="${place}"]`)
      .forEach((square) => square.classList.add("here"));
  }

  /** Set the sliders to the cell of the headline, or to the last one, at any price. */
  function reset() {
    const of = panel();
    const row = of.rows.find(({ place }) => place === of.start[0]);
    const column = row.columns.find(({ place }) => place === of.start[1]);
    const start = [column.budget, row.images, null];
    const counts = of.rows.map(({ images }) => images);
    runs.parentElement.hidden = new Set(counts).size === counts.length;
    offered = null;
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
    const panels = groups[group];
    offer(sizes, panels, ({ key }) => key);
    const again = panels.findIndex(({ key }) => key === before);
    const leads = panels.findIndex((each) => each.leads);
    sizes.selectedIndex = [again, leads, panels.length - 1].find((k) => k >= 0);
    sizes.parentElement.hidden = panels.length < 2;
    reset();
  }

  sliders.forEach((slider) => slider.addEventListener("input", update));
  sizes.addEventListener("change", reset);
  runs.addEventListener("change", update);
  fillSizes();
  box.hidden = false;
})();
