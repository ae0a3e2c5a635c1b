// The rest of the page: pictures shown twice, verdicts chosen by kind, pictures enlarged, links into
// folds, printing.
"use strict";

(() => {
  document.querySelectorAll("img[data-same]").forEach((image) => {
    image.src = document.getElementById(image.dataset.same).src;
  });

  const cards = [...document.querySelectorAll(".claim")];
  const choices = [...document.querySelectorAll(".balance button")];
  choices.forEach((button) => {
    button.addEventListener("click", () => {
      const chosen = button.getAttribute("aria-pressed") !== "true";
      choices.forEach((other) => other.setAttribute("aria-pressed", chosen && other === button));
      cards.forEach((card) => {
        card.hidden = chosen && card.dataset.verdict !== button.dataset.verdict;
      });
    });
  });

  const SMALL = 480; // pixels of a picture whose pixels stay sharp when it is enlarged
  const dialog = document.getElementById("enlarged");
  document.querySelectorAll(".zoom").forEach((button) => {
    button.addEventListener("click", () => {
      const image = button.querySelector("img").cloneNode();
      image.removeAttribute("id");
      image.classList.toggle("pixels", image.getAttribute("width") <= SMALL);
      const close = document.createElement("button");
      close.textContent = "Close";
      dialog.replaceChildren(image, close);
      dialog.showModal();
    });
  });
  dialog.addEventListener("click", () => dialog.close());

  /** Open the folds around what a link points to, or the fold itself. */
  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let at = target; at; at = at.parentElement) {
      if (at instanceof HTMLDetailsElement) at.open = true;
    }
    if (target) target.scrollIntoView();
  }
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();

  const contents = document.querySelector("nav details");
  const links = new Map(
    [...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]),
  );
  if (matchMedia("(max-width: 1000px)").matches) contents.open = false;
  const watch = new IntersectionObserver(
    (entries) => {
      entries
        .filter((entry) => entry.isIntersecting)
        .forEach((entry) => {
          links.forEach((link) => link.removeAttribute("aria-current"));
          links.get(entry.target.id)?.setAttribute("aria-current", "true");
        });
    },
    { rootMargin: "-20% 0px -70% 0px" },
  );
  document.querySelectorAll("main > section").forEach((section) => watch.observe(section));

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("main details:not([open])")];
    folded.forEach((details) => (details.open = true));
    theme.forPrint(true);
    figures.forPrint(true);
  });
  addEventListener("afterprint", () => {
    folded.forEach((details) => (details.open = false));
    theme.forPrint(false);
    figures.forPrint(false);
  });
})();
