// Light and dark: as the system has it, until the reader chooses.
"use strict";

const theme = (() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const listeners = [];
  let chosen = null;

  const isDark = () => (chosen === null ? system.matches : chosen);

  function apply() {
    root.dataset.theme = isDark() ? "dark" : "light";
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
    listeners.forEach((listener) => listener());
  }

  button.addEventListener("click", () => {
    chosen = !isDark();
    apply();
  });
  system.addEventListener("change", apply);
  apply();

  return {
    /** The value of a colour of report.css, such as "ink". */
    color: (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim(),
    onChange: (listener) => listeners.push(listener),
    /** Print in light colours, whatever is shown. */
    forPrint: (printing) => {
      root.dataset.theme = printing || !isDark() ? "light" : "dark";
    },
  };
})();
