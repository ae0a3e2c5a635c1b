// A page that is watched: its age, and reloading without losing the reader's place.
"use strict";

(() => {
  const live = document.getElementById("live");
  const written = Number(live.dataset.written) * 1000;
  const every = Number(live.dataset.every) * 1000;
  const STALE = Math.max(3 * every, 30_000); // ms after which a page is called old
  const QUIET = 2_000; // ms without scrolling or typing before a reload
  const KEY = `place in ${location.pathname}`;
  const [SIZE, RUNS] = ["#map .size select", "#map .runs select"];
  const main = document.querySelector("main");

  function ago(ms) {
    const seconds = Math.max(0, Math.round(ms / 1000));
    if (seconds < 100) return `${seconds} s ago`;
    const minutes = Math.round(seconds / 60);
    return minutes < 100 ? `${minutes} min ago` : `${Math.round(minutes / 60)} h ago`;
  }

  /** Elements of a kind with keys that are the same in the next version of the page. */
  function keyed(selector, nameOf) {
    const found = new Map();
    document.querySelectorAll(selector).forEach((element) => {
      const home = element.closest("article[id], section[id], nav");
      const name = `${home?.id ?? ""} ${nameOf(element)}`;
      if (!found.has(name)) found.set(name, element);
    });
    return found;
  }

  const folds = () => keyed("details", (fold) => fold.querySelector("summary").textContent.trim());
  const fields = () => keyed(".table input", (field) => field.getAttribute("aria-label"));
  const boxes = () => keyed(".table .scroll", (box) => box.getAttribute("aria-label"));
  const views = () =>
    keyed("figure .switch button", (button) => `${button.closest("figure").id} ${button.textContent}`);
  const kinds = () => keyed(".balance button", (button) => button.dataset.verdict);
  const choices = () => keyed("#map .switch button", (button) => button.textContent.trim());
  const sliders = () => keyed("#map input", (slider) => slider.id);
  const wordsOf = (slider) => slider.getAttribute("aria-valuetext");
  const amountOf = (slider) => slider.dataset.amount; // empty for "any" and "all"
  const headings = () =>
    keyed(".table thead th", (heading) => {
      const box = heading.closest(".scroll");
      return `${box.getAttribute("aria-label")} ${heading.textContent}`;
    });

  /** The last element with an id above the top of the window, and where it is. */
  function anchor() {
    if (scrollY <= 0) return null;
    const visible = [...main.querySelectorAll("[id]")].filter((e) => e.getClientRects().length);
    const above = visible.filter((e) => e.getBoundingClientRect().top <= 1);
    const last = above[above.length - 1];
    return last ? { id: last.id, top: last.getBoundingClientRect().top } : null;
  }

  function chosen(elements, isChosen) {
    return [...elements].filter(([, element]) => isChosen(element)).map(([name]) => name);
  }

  const pressed = (button) => button.getAttribute("aria-pressed") === "true";

  function remember() {
    const place = {
      y: scrollY,
      anchor: anchor(),
      theme: document.documentElement.dataset.theme,
      folds: [...folds()].map(([name, fold]) => [name, fold.open]),
      fields: [...fields()].map(([name, field]) => [name, field.value]),
      boxes: [...boxes()].map(([name, box]) => [name, box.scrollLeft, box.scrollTop]),
      sorts: [...headings()].map(([name, heading]) => [name, heading.getAttribute("aria-sort")]),
      views: chosen(views(), pressed),
      kinds: chosen(kinds(), pressed),
      choices: chosen(choices(), pressed),
      size: document.querySelector(SIZE)?.value,
      sliders: [...sliders()].map(([name, slider]) => [name, [wordsOf(slider), amountOf(slider)]]),
      runs: document.querySelector(RUNS)?.value,
    };
    try {
      sessionStorage.setItem(KEY, JSON.stringify(place));
    } catch {} // storage is full or forbidden: the page begins at its top
  }

  /** Choose an option by its value; whether there is such an option. */
  function pick(select, value) {
    if (!select || ![...select.options].some((option) => option.value === value)) return false;
    select.value = value;
    select.dispatchEvent(new Event("change"));
    return true;
  }

  /** Set a slider to the stop nearest to what it was at, of those with the same words if any. */
  function restoreSlider(slider, [words, amount]) {
    const before = slider.value;
    const move = (value) => {
      slider.value = value;
      slider.dispatchEvent(new Event("input"));
    };
    let [best, least] = [before, Infinity];
    for (let value = 0; value <= Number(slider.max); value++) {
      move(value);
      const told = wordsOf(slider) === words;
      const numbers = Boolean(amount && amountOf(slider));
      const apart = numbers ? Math.abs(Math.log(amountOf(slider) / amount)) : told ? 0 : Infinity;
      const distance = told ? apart : apart + 1e6; // other words only where none are the same
      if (distance < least) [best, least] = [value, distance];
    }
    move(best);
  }

  /** Choose the size, the budget and the runs again, where the page still has that size. */
  function restoreBudget({ size, sliders: said, runs }) {
    const sizes = document.querySelector(SIZE);
    if (!sizes || !pick(sizes, size)) return;
    const all = sliders();
    said.forEach(([name, was]) => all.has(name) && restoreSlider(all.get(name), was));
    pick(document.querySelector(RUNS), runs);
  }

  function restore(place) {
    if (document.documentElement.dataset.theme !== place.theme) {
      document.getElementById("theme").click();
    }
    const [allFolds, allFields, allBoxes] = [folds(), fields(), boxes()];
    place.folds.forEach(([name, open]) => allFolds.has(name) && (allFolds.get(name).open = open));
    place.fields.forEach(([name, value]) => {
      if (!value || !allFields.has(name)) return;
      allFields.get(name).value = value;
      allFields.get(name).dispatchEvent(new Event("input"));
    });
    const allHeadings = headings();
    place.sorts.forEach(([name, sort]) => {
      const heading = allHeadings.get(name);
      for (let k = 0; heading && sort !== "none" && k < 2; k++) {
        if (heading.getAttribute("aria-sort") !== sort) heading.querySelector("button").click();
      }
    });
    for (const [elements, names] of [
      [views(), place.views],
      [kinds(), place.kinds],
      [choices(), place.choices],
    ]) {
      names.map((name) => elements.get(name)).forEach((b) => b && !pressed(b) && b.click());
    }
    restoreBudget(place);
    place.boxes.forEach(([name, left, top]) => allBoxes.get(name)?.scrollTo(left, top));
    const at = place.anchor && document.getElementById(place.anchor.id);
    const moved = at ? at.getBoundingClientRect().top + scrollY - place.anchor.top : place.y;
    scrollTo({ top: moved, behavior: "instant" });
  }

  history.scrollRestoration = "manual";
  addEventListener("pagehide", remember);
  const navigation = performance.getEntriesByType("navigation")[0];
  if (navigation?.type === "reload") {
    try {
      const place = JSON.parse(sessionStorage.getItem(KEY));
      if (place) restore(place);
    } catch {} // of another version of the page
  }

  let busyUntil = 0;
  for (const kind of ["scroll", "input", "keydown", "pointerdown", "wheel", "touchmove"]) {
    addEventListener(kind, () => (busyUntil = performance.now() + QUIET), { passive: true });
  }

  const zoomed = new Set();
  function follow(plot) {
    if (plot.dataset.followed || !plot.on) return;
    plot.dataset.followed = "yes";
    plot.on("plotly_relayout", (change) => {
      if (Object.keys(change).some((name) => /axis\d*\.range/.test(name))) zoomed.add(plot);
      if (Object.keys(change).some((name) => /axis\d*\.autorange/.test(name))) zoomed.delete(plot);
    });
  }

  const pause = document.getElementById("pause");
  pause.hidden = false;
  pause.addEventListener("click", () => pause.setAttribute("aria-pressed", !pressed(pause)));

  /** Why the page is not reloaded now; empty if it may be. */
  function reason() {
    if (pressed(pause)) return "paused";
    if (zoomed.size) return "not reloaded while a figure is zoomed in: double-click it to go on";
    if (document.getElementById("enlarged").open) return "not reloaded while a picture is enlarged";
    if (String(getSelection())) return "not reloaded while text is selected";
    return "";
  }

  const age = document.getElementById("age");
  const cells = [...document.querySelectorAll("#in-progress tbody td:nth-child(3)[data-key]")];
  const elapsed = Date.now() - written;
  const wait = elapsed > 0 && elapsed < every ? every - elapsed + 2_000 : every;
  const due = performance.now() + wait;

  function tick() {
    const now = Date.now();
    const old = now - written > STALE;
    const why = reason();
    const said = old
      ? ": nothing has changed since, or the command that watches has stopped"
      : "";
    age.textContent = `Written ${ago(now - written)}${said}${why ? ` (${why})` : ""}`;
    age.classList.toggle("stale", old);
    cells.forEach((cell) => (cell.textContent = ago(now - 1000 * Number(cell.dataset.key))));
    document.querySelectorAll(".plot.drawn").forEach(follow);
    const free = !why && !document.hidden && performance.now() > busyUntil;
    if (free && performance.now() >= due) location.reload();
  }

  tick();
  setInterval(tick, 1_000);
})();
