"use strict";
// Draws the plots from the data in the page with Observable Plot; the page's colours are CSS variables, so that a change of
// theme draws nothing again. Every plot has the width that it finds: text keeps its size on a phone.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const symbols = ["circle", "square", "triangle", "diamond", "star", "wye", "cross", "hexagon", "times", "plus", "asterisk"];
  const slots = ["--s1", "--s2", "--s3", "--s4", "--s5", "--s6", "--s7"];
  const servers = new Map();
  let slot = 0;
  data.servers.forEach((s, i) => {
    const color = s.role === "own" ? "--own" : s.role === "reference" ? "--reference" : s.role === "bound" ? "--bound" : slots[slot++ % slots.length];
    servers.set(s.name, {...s, color: `var(${color})`, symbol: symbols[i % symbols.length], order: i});
  });
  const hidden = new Set();
  const narrow = 560; // pixels: names stand above what they name

  const digits = (n, places) => n.toLocaleString("en", {maximumFractionDigits: places, minimumFractionDigits: places});
  function short(n) {
    if (n >= 1e6) return digits(n / 1e6, n < 1e7 ? 2 : 1) + " M";
    if (n >= 1e4) return digits(n / 1e3, n < 1e5 ? 1 : 0) + " k";
    return digits(n, n < 10 ? 2 : n < 100 ? 1 : 0);
  }
  function time(us) {
    if (us >= 1e6) return digits(us / 1e6, us < 1e7 && us % 1e6 ? 1 : 0) + " s";
    if (us >= 1e3) return digits(us / 1e3, us < 1e4 && us % 1e3 ? 1 : 0) + " ms";
    return digits(us, us < 10 && us % 1 ? 1 : 0) + " µs";
  }
  const times = (n) => digits(n, n < 10 ? 2 : 1) + "×";
  const bytes = (n) => digits(n, 0) + " B";
  const percentile = (nines) => {
    const q = 100 * (1 - 10 ** -nines);
    return "p" + (Math.abs(q - 50) < 0.01 ? "50" : q.toFixed(Math.max(0, Math.round(nines) - 2)));
  };
  const nines = (q) => -Math.log10(1 - q / 100);

  const of = (scenario, field) => data.cells
    .filter((c) => c.scenario === scenario && c[field] && !hidden.has(c.server))
    .map((c) => ({...c, look: servers.get(c.server), value: c[field][0], low: c[field][1], high: c[field][2]}));

  const base = (width, more) => ({
    width, style: {fontSize: "12px", background: "none", color: "var(--ink)"},
    color: {type: "identity"}, symbol: {type: "identity"}, ...more,
  });

  // bars: one scenario, a bar per server from 0, with the least and the most of the repetitions.
  function bars(rows, {label, format, best, rule}) {
    rows.sort((a, b) => best === "most" ? b.value - a.value : a.value - b.value);
    const text = (d) => (d.clientBound && best === "most" ? "≥ " : "") + format(d.value);
    return (width) => {
      const left = Math.min(150, 14 + 7.2 * Math.max(...rows.map((d) => d.server.length)));
      const most = Math.max(...rows.map((d) => d.high), rule ?? 0);
      return Plot.plot(base(width, {
        height: rows.length * 23 + 42, marginLeft: left, marginRight: 66, marginTop: 4, marginBottom: 36,
        x: {domain: [0, most], grid: true, label, ticks: Math.max(2, Math.floor((width - left) / 75)), tickFormat: (v) => v === 0 ? "0" : format === times ? v + "×" : short(v).replace(/\.0+(?= |$)/, "")},
        y: {domain: rows.map((d) => d.server), label: null, tickSize: 0, tickFormat: () => ""},
        marks: [
          Plot.barX(rows, {x: "value", y: "server", fill: (d) => d.look.color, fillOpacity: (d) => d.look.role === "own" ? 1 : d.look.role === "bound" ? 0.35 : 0.62, insetTop: 2, insetBottom: 2}),
          Plot.ruleY(rows, {x1: "low", x2: "high", y: "server", stroke: "var(--ink)", strokeWidth: 1.2}),
          Plot.tickX(rows.flatMap((d) => [{server: d.server, x: d.low}, {server: d.server, x: d.high}]), {x: "x", y: "server", stroke: "var(--ink)", strokeWidth: 1.2, insetTop: 7, insetBottom: 7}),
          Plot.text(rows, {frameAnchor: "left", dx: -8, textAnchor: "end", y: "server", text: "server", fill: "currentColor", filter: (d) => d.look.role !== "own"}),
          Plot.text(rows, {frameAnchor: "left", dx: -8, textAnchor: "end", y: "server", text: "server", fill: "var(--own)", fontWeight: 700, filter: (d) => d.look.role === "own"}),
          Plot.text(rows, {x: "high", y: "server", text, textAnchor: "start", dx: 6, fontVariant: "tabular-nums", fill: "currentColor"}),
          ...(rule === undefined ? [] : [Plot.ruleX([rule], {stroke: "var(--ink)", strokeDasharray: "3,3"})]),
          Plot.ruleX([0], {stroke: "var(--ink)"}),
          Plot.tip(rows, Plot.pointerY({x: "value", y: "server", title: (d) => `${d.server}\n${text(d)} (${format(d.low)} to ${format(d.high)})` + (d.clientBound ? "\nclient-bound" : "")})),
        ],
      }));
    };
  }

  // overview: every scenario a line, every server a symbol at its cost relative to the reference's.
  function overview(rows, names) {
    return (width) => {
      const small = width < narrow;
      const left = small ? 8 : 14 + 7 * Math.max(...names.map((n) => n.length));
      const step = small ? 46 : 30;
      const others = rows.filter((d) => d.look.role !== "own"), own = rows.filter((d) => d.look.role === "own");
      const dot = (r, strokeWidth) => ({x: "value", y: "scenario", symbol: (d) => d.look.symbol, stroke: (d) => d.look.color, r, strokeWidth, dy: small ? 8 : 0});
      const low = Math.min(0.9, ...rows.map((d) => d.value)) * 0.95, high = Math.max(1.2, ...rows.map((d) => d.value)) * 1.08;
      return Plot.plot(base(width, {
        height: names.length * step + 60, marginLeft: left, marginRight: 20, marginTop: 22, marginBottom: 38,
        x: {type: "log", domain: [low, high], grid: true, label: "← cheaper, on a logarithmic scale", labelAnchor: "left", labelArrow: "none", ticks: [0.25, 0.5, 0.7, 1, 1.4, 2, 3, 5, 10, 20, 50].filter((t) => t > low && t < high), tickFormat: (v) => v + "×"},
        y: {domain: names, label: null, tickSize: 0, ...(small ? {axis: null} : {})},
        marks: [
          Plot.ruleY(names, {stroke: "var(--line)", dy: small ? 8 : 0}),
          Plot.ruleX([1], {stroke: "var(--ink)"}),
          ...(small ? [Plot.text(names, {y: (d) => d, text: (d) => d, frameAnchor: "left", dy: -9, fill: "currentColor"})] : []),
          Plot.link(own, {x1: "low", x2: "high", y1: "scenario", y2: "scenario", stroke: "var(--own)", strokeWidth: 2, dy: small ? 8 : 0}),
          Plot.dot(others, {...dot(4, 1.6), fill: "var(--panel)", fillOpacity: 0.75}),
          Plot.dot(own, {...dot(6.5, 1.6), fill: "var(--own)"}),
          Plot.tip(rows, Plot.pointer({x: "value", y: "scenario", title: (d) => `${d.server}\n${d.scenario}\n${times(d.value)} (${times(d.low)} to ${times(d.high)})`})),
        ],
      }));
    };
  }

  // curves: one scenario, latency by percentile, a line per server.
  function curves(rows) {
    const points = rows.flatMap((d) => d.curve.map(([q, us]) => ({server: d.server, look: d.look, q, us: Math.max(us, 1), x: nines(q)})));
    const furthest = Math.max(...points.map((p) => p.x));
    const ticks = [50, 90, 99, 99.9, 99.99].map(nines).filter((x) => x <= furthest + 0.01);
    const low = Math.min(...points.map((p) => p.us)), high = Math.max(...points.map((p) => p.us));
    const steps = high / low > 300 ? [1] : high / low > 30 ? [1, 3] : [1, 2, 5];
    const marks = d3.range(0, 9).flatMap((e) => steps.map((m) => m * 10 ** e)).filter((v) => v >= low * 0.85 && v <= high * 1.15);
    const order = (a, b) => (a.look.role === "own") - (b.look.role === "own");
    points.sort(order);
    const marked = points.filter((p) => ticks.some((t) => Math.abs(t - p.x) < 0.01));
    return (width) => Plot.plot(base(width, {
      height: 270, marginLeft: 58, marginRight: 18, marginTop: 10, marginBottom: 36,
      x: {domain: [Math.min(...points.map((p) => p.x)), furthest], ticks, tickFormat: percentile, grid: true, label: "percentile of messages →"},
      y: {type: "log", domain: [low * 0.85, high * 1.15], grid: true, label: null, ticks: marks, tickFormat: time},
      marks: [
        Plot.lineY(points, {x: "x", y: "us", z: "server", stroke: (d) => d.look.color, strokeWidth: 1.5, strokeOpacity: 0.9, filter: (d) => d.look.role !== "own" && d.look.role !== "bound"}),
        Plot.lineY(points, {x: "x", y: "us", z: "server", stroke: (d) => d.look.color, strokeWidth: 1.5, strokeDasharray: "4,3", filter: (d) => d.look.role === "bound"}),
        Plot.lineY(points, {x: "x", y: "us", z: "server", stroke: (d) => d.look.color, strokeWidth: 3, filter: (d) => d.look.role === "own"}),
        Plot.dot(marked, {x: "x", y: "us", symbol: (d) => d.look.symbol, stroke: (d) => d.look.color, fill: "var(--panel)", r: (d) => d.look.role === "own" ? 4.5 : 3.5, strokeWidth: 1.5}),
        Plot.tip(points, Plot.pointer({x: "x", y: "us", title: (d) => `${d.server}\np${+d.q.toFixed(3)}: ${time(d.us)}`})),
      ],
    }));
  }

  const figures = [];
  function figure(parent, title, note, draw) {
    const f = document.createElement("figure"), caption = document.createElement("figcaption"), small = document.createElement("small"), body = document.createElement("div");
    caption.textContent = title;
    small.textContent = note;
    caption.append(small);
    f.append(caption, body);
    parent.append(f);
    let width = 0;
    const one = {
      body,
      redraw(force) {
        const now = Math.floor(body.clientWidth);
        if (!now || (now === width && !force)) return;
        width = now;
        const make = draw();
        body.replaceChildren(make ? make(width) : document.createTextNode("no server chosen has this figure"));
      },
    };
    figures.push(one);
  }
  const watch = new ResizeObserver((entries) => requestAnimationFrame(() => {
    for (const e of entries) figures.find((f) => f.body === e.target)?.redraw(false);
  }));
  const some = (rows, make) => rows.length ? make(rows) : null;
  const has = (scenario, field) => data.cells.some((c) => c.scenario === scenario && c[field]);
  const place = (name) => document.getElementById("plot-" + name);

  const about = (s) => `${s.name}: ${s.what}`;
  for (const s of data.scenarios) {
    if (has(s.name, "relative") && data.cells.some((c) => c.scenario === s.name && c.relative && c.server !== data.reference)) {
      figure(place("cost"), s.title, about(s), () => some(of(s.name, "relative"), (rows) => bars(rows, {label: `${s.costUnit} ÷ ${data.reference}'s →`, format: times, best: "least", rule: 1})));
    } else if (has(s.name, "cost")) { // the reference is not in it
      figure(place("cost"), s.title, about(s), () => some(of(s.name, "cost"), (rows) => bars(rows, {label: s.costUnit + ", µs →", format: short, best: "least"})));
    }
    if (has(s.name, "rate") && !s.paced) {
      figure(place("throughput"), s.title, about(s), () => some(of(s.name, "rate"), (rows) => bars(rows, {label: s.unit + " →", format: short, best: "most"})));
    }
    if (data.cells.some((c) => c.scenario === s.name && c.curve)) {
      const rows = () => data.cells.filter((c) => c.scenario === s.name && c.curve && !hidden.has(c.server)).map((c) => ({...c, look: servers.get(c.server)}));
      figure(place("latency"), s.title, about(s), () => some(rows(), curves));
    }
    if (has(s.name, "perConn")) {
      figure(place("memory"), s.title, about(s), () => some(of(s.name, "perConn"), (rows) => bars(rows, {label: "bytes of RSS per connection →", format: bytes, best: "least"})));
    }
  }
  const compared = data.scenarios.map((s) => s.name).filter((n) => data.cells.some((c) => c.scenario === n && c.relative && c.server !== data.reference));
  if (compared.length) {
    figure(place("overview"), `All scenarios: CPU per message ÷ ${data.reference}'s`, "each symbol a server: the median of the repetitions' ratios; the line through ours ends at the least and the most of them", () =>
      some(compared.flatMap((n) => of(n, "relative")), (rows) => overview(rows, compared)));
  }
  for (const section of document.querySelectorAll("section[data-plots]")) {
    section.hidden = !section.querySelector("figure");
  }
  for (const f of figures) {
    f.redraw(false); // now, so that links into the page find their place
    watch.observe(f.body);
  }

  const list = document.getElementById("legend");
  for (const s of servers.values()) {
    const item = document.createElement("li"), b = document.createElement("button");
    b.type = "button";
    b.className = s.role;
    b.setAttribute("aria-pressed", "true");
    b.title = "show or hide it in all plots";
    b.append(Plot.plot({width: 14, height: 14, margin: 0, axis: null, x: {domain: [-1, 1], range: [0, 14]}, y: {domain: [-1, 1], range: [14, 0]}, color: {type: "identity"}, symbol: {type: "identity"},
      marks: [Plot.dot([0], {x: 0, y: 0, r: 5, symbol: s.symbol, stroke: s.color, fill: s.role === "own" ? s.color : "none", strokeWidth: 2})]}), s.name);
    b.addEventListener("click", () => {
      if (!hidden.delete(s.name)) hidden.add(s.name);
      b.setAttribute("aria-pressed", String(!hidden.has(s.name)));
      for (const f of figures) f.redraw(true);
    });
    item.append(b);
    list.append(item);
  }

  const theme = document.getElementById("theme"), root = document.documentElement;
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const name = () => { theme.textContent = dark() ? "light" : "dark"; };
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  theme.hidden = false;
  name();
})();
