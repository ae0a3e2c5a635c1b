// Figures: drawn by plotly.js when scrolled near, in the colours of the theme.
"use strict";

const figures = (() => {
  const CONFIG = {
    displaylogo: false,
    responsive: true,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  const NARROW = 560;
  const PAPER = 640; // pixels of a plot that fits A4 within its margins
  const COLORS = new Set(["color", "bgcolor", "bordercolor", "gridcolor", "zerolinecolor"]);

  const charts = [...document.querySelectorAll(".chart")].map((box) => ({
    plot: box.querySelector(".plot"),
    spec: JSON.parse(box.querySelector('script[type="application/json"]').textContent),
    buttons: [...box.querySelectorAll(".switch button")],
    sentences: [...box.querySelectorAll(".of-view")],
    view: 0,
    drawn: false,
  }));

  let onPaper = false;

  /** plotly.js is large: it is evaluated when the first figure is drawn. */
  function load() {
    if (window.Plotly) return;
    const script = document.createElement("script");
    script.textContent = document.getElementById("plotly").textContent;
    document.head.append(script);
  }

  /** A copy of a specification with "@name" replaced by the theme's colours. */
  function themed(value, key) {
    if (typeof value === "string" && value.startsWith("@") && COLORS.has(key)) {
      const name = value.slice(1);
      return theme.color(/^\d+$/.test(name) ? `series-${name}` : name);
    }
    if (Array.isArray(value)) return value.map((item) => themed(item, ""));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, k)]));
  }

  function axis(given, narrow) {
    return {
      gridcolor: theme.color("rule"),
      linecolor: theme.color("rule"),
      zerolinecolor: theme.color("rule"),
      automargin: true,
      ticks: "outside",
      tickcolor: theme.color("rule"),
      ...given,
      title: { standoff: 8, ...(given.title || {}) },
      ...(given.dtick ? {} : { nticks: narrow ? 5 : 0 }),
    };
  }

  function layoutOf(chart) {
    const given = chart.spec.views[chart.view].layout;
    const width = onPaper ? PAPER : chart.plot.clientWidth;
    const narrow = width < NARROW;
    return {
      width,
      height: chart.spec.height,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: theme.color("sans"), size: narrow ? 11 : 13, color: theme.color("ink") },
      margin: { l: 8, r: narrow ? 8 : 16, t: 12, b: 8 },
      hoverlabel: {
        bgcolor: theme.color("surface"),
        bordercolor: theme.color("rule"),
        font: { color: theme.color("ink"), family: theme.color("sans") },
      },
      modebar: {
        bgcolor: "rgba(0,0,0,0)",
        color: theme.color("muted"),
        activecolor: theme.color("ink"),
      },
      hovermode: "closest",
      dragmode: narrow ? false : "zoom",
      legend: { orientation: "h", x: 0, y: -0.2, yanchor: "top", itemwidth: 30 },
      ...given,
      xaxis: axis(given.xaxis, narrow),
      yaxis: axis(given.yaxis, narrow),
    };
  }

  function draw(chart) {
    load();
    const data = themed(chart.spec.views[chart.view].data, "");
    Plotly.react(chart.plot, data, layoutOf(chart), CONFIG);
    chart.drawn = true;
    chart.plot.classList.add("drawn");
  }

  charts.forEach((chart) => {
    chart.buttons.forEach((button, k) => {
      button.addEventListener("click", () => {
        chart.buttons.forEach((other) => other.setAttribute("aria-pressed", other === button));
        chart.sentences.forEach((sentence, of) => (sentence.hidden = of !== k));
        chart.view = k;
        draw(chart);
      });
    });
  });

  const byPlot = new Map(charts.map((chart) => [chart.plot, chart]));
  const near = new IntersectionObserver(
    (entries) => {
      entries
        .filter((entry) => entry.isIntersecting)
        .forEach((entry) => {
          near.unobserve(entry.target);
          const chart = byPlot.get(entry.target);
          if (!chart.drawn) draw(chart);
        });
    },
    { rootMargin: "400px" },
  );
  charts.forEach((chart) => near.observe(chart.plot));

  theme.onChange(() => charts.filter((chart) => chart.drawn).forEach(draw));

  return {
    /** Draw all figures, as wide as the paper or as the page. */
    forPrint: (printing) => {
      onPaper = printing;
      charts.forEach(draw);
    },
  };
})();
