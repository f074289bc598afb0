// Controls and curves of the explorer; every number comes from `equilibrium` above.
(() => {
  const MOST_UNITS = 4096; // different fan-outs: an update stays below what a hand on a slider feels
  const MOST_SHOWN = 40;
  const SVG = "http://www.w3.org/2000/svg";
  const BOX = { left: 50, right: 350, top: 12, bottom: 200 };

  const byId = (id) => document.getElementById(id);
  const shown = (value) => {
    if (!Number.isFinite(value)) return "–";
    return String(Number(value.toPrecision(6)));
  };
  const rounded = (value) => Number(value.toPrecision(4));
  const isGiven = (name) => byId(`given-${name}`).checked;

  // how a slider's position and its number are each other's
  const plain = { value: Number, position: (value) => value };
  const powers = { value: (at) => rounded(10 ** at), position: (value) => Math.log10(value) };
  const share = {
    value: (at) => rounded(unpriced * 10 ** at),
    position: (value) => Math.log10(value / unpriced),
  };
  const scales = { beta: powers, budget: share, first: plain, last: plain, step: plain, tail: plain };
  let unpriced = 1; // traffic of the population at no price: what the budget's slider is a share of

  const exact = (name) => {
    const field = byId(name);
    const value = field.valueAsNumber;
    const good = Number.isFinite(value) && field.validity.valid && !(name === "budget" && value <= 0);
    field.setAttribute("aria-invalid", String(!good));
    return good ? value : NaN;
  };

  function place(name, value) {
    const slider = byId(`${name}-slider`);
    slider.value = value > 0 || scales[name] === plain ? scales[name].position(value) : slider.min;
    slider.setAttribute("aria-valuetext", shown(value));
  }

  /** Read the population, or say why there is none. */
  function readUnits() {
    const [first, last, step, tail] = ["first", "last", "step", "tail"].map(exact);
    if ([first, last, step, tail].some(Number.isNaN)) return { problem: "Not a number the field allows." };
    if (last < first) return { problem: "The largest fan-out must not be below the smallest." };
    if ((last - first) / step >= MOST_UNITS) return { problem: `At most ${MOST_UNITS} different fan-outs.` };
    const units = equilibrium.population(first, last, step, tail);
    if (equilibrium.unpricedTraffic(units) === 0) return { problem: "No unit has an audience: nothing to pay." };
    return { units, first, last, step, tail };
  }

  function update() {
    const asked = readUnits();
    if (!asked.problem) unpriced = equilibrium.unpricedTraffic(asked.units);
    const name = isGiven("beta") ? "beta" : "budget";
    const value = exact(name);
    if (!asked.problem && Number.isNaN(value)) asked.problem = `${name} must be a number above 0.`;
    byId("explorer-status").classList.toggle("problem", Boolean(asked.problem));
    if (asked.problem) {
      byId("explorer-status").textContent = `${asked.problem} What is shown is the last answer.`;
      return;
    }
    const answer = equilibrium.solve(asked.units, { [name]: value });
    const other = name === "beta" ? "budget" : "beta";
    byId(other).value = String(answer[other]);
    byId(other).setAttribute("aria-invalid", "false");
    for (const each of Object.keys(scales)) place(each, byId(each).valueAsNumber);
    say(asked, answer, name, value);
    drawAll(asked, answer);
  }

  const STATUS = {
    converged: "On the line: every unit pays the same price.",
    budget_not_binding: "The budget does not bind: it costs nothing to be on half of the time.",
    not_converged: "Not converged: do not use these numbers.",
  };

  function say(asked, answer, name, value) {
    byId("explorer-status").textContent =
      `${STATUS[answer.status]} β = ${shown(answer.beta)} nats per link, ` +
      `traffic ${shown(answer.traffic)} of T = ${shown(answer.budget)}, ` +
      `coding entropy ${shown(answer.coding_entropy)} nats.`;
    const facts = [
      ["status", answer.status],
      ["β, nats per link", shown(answer.beta)],
      ["budget T, links per step", shown(answer.budget)],
      ["traffic, links per step", shown(answer.traffic)],
      ["coding entropy, nats", shown(answer.coding_entropy)],
      ["price of traffic dH/dT", shown(answer.price_of_traffic)],
      ["dT/dβ", shown(answer.dtraffic_dbeta)],
      ["units", shown(answer.n_units)],
      ["without audience", shown(answer.n_silent)],
      ["on-rate below float64", shown(answer.n_underflow)],
    ];
    byId("explorer-answer").replaceChildren(
      ...facts.map(([term, fact]) => {
        const pair = document.createElement("div");
        pair.append(filled("dt", term), filled("dd", fact));
        return pair;
      }),
    );
    const { first, last, step, tail } = asked;
    const range = `${first}:${last}${step === 1 ? "" : `:${step}`}`;
    const source = tail === 0 ? range : "units.csv";
    byId("explorer-command").textContent = `python -m bbtheory.solve --fan-out ${source} --${name} ${value}`;
    byId("population-file").hidden = tail === 0;
    const { fan_out: fanOut, count } = answer.units;
    const lines = tail === 0 ? [] : fanOut.map((k, i) => `${k},${count[i]}`);
    byId("population-text").value = ["fan_out,count", ...lines, ""].join("\n");
    const body = thinned(fanOut.length, MOST_SHOWN).map((i) => {
      const row = document.createElement("tr");
      const columns = ["fan_out", "count", "on_rate", "traffic", "inactivity_log_odds", "entropy"];
      row.append(...columns.map((column) => filled("td", shown(answer.units[column][i]))));
      return row;
    });
    const table = byId("explorer-units");
    table.tBodies[0].replaceChildren(...body);
    const part = body.length < fanOut.length ? `${body.length} of ${fanOut.length} fan-outs` : "all fan-outs";
    table.caption.textContent = `Units of the population (${part})`;
  }

  function filled(tag, content) {
    const made = document.createElement(tag);
    made.textContent = content;
    return made;
  }

  /** Evenly spread indices of n things, at most as many as asked. */
  function thinned(n, most) {
    const size = Math.min(n, most);
    return Array.from({ length: size }, (_, i) => (size === 1 ? 0 : Math.round((i * (n - 1)) / (size - 1))));
  }

  // drawing

  function drawAll(asked, answer) {
    const { units } = answer;
    const start = units.fan_out[0];
    const end = units.fan_out[units.fan_out.length - 1];
    const logarithmic = byId("logarithmic").checked;
    const low = logarithmic ? Math.max(start, 1) : Math.min(start, end - 1);
    const x = axis(low, Math.max(end, low + 1), logarithmic, BOX.left, BOX.right);
    const line = Array.from({ length: 241 }, (_, i) => x.at(i / 240)).filter((k) => k >= start && k <= end);
    const curve = (f) => line.map((k) => [k, f(answer.beta * k, k)]);
    const dots = (values) =>
      thinned(values.length, 120).map((i) => [units.fan_out[i], values[i]]).filter(([k]) => k >= low);
    const label = "fan-out k, links";
    const most = equilibrium.MAX_BALANCED_TRAFFIC / answer.beta;
    const top = Math.max(...units.traffic) || 1; // 1: all on-rates are below float64

    draw("on-rate", x, [0, 0.5], [label, "on-rate a"], curve(equilibrium.onRate), dots(units.on_rate));
    draw(
      "traffic", x, [0, 1.15 * top], [label, "traffic a k, links per step"],
      curve((odds, k) => k * equilibrium.onRate(odds)), dots(units.traffic),
      most <= 1.15 * top ? [[x.low, most], [x.high, most]] : [],
    );
    draw("entropy", x, [0, 0.75], [label, "entropy h(a), nats"], curve(equilibrium.entropy), dots(units.entropy));
    describe("on-rate", units.fan_out, units.on_rate, "On-rate");
    describe("traffic", units.fan_out, units.traffic, "Traffic");
    describe("entropy", units.fan_out, units.entropy, "Entropy");
    drawPrice(asked, answer);
  }

  /** Coding entropy against budget, with the slope that is the price. */
  function drawPrice(asked, answer) {
    const free = equilibrium.totals(asked.units, 0);
    const { fan_out: fanOut } = answer.units;
    const smallest = fanOut.find((k) => k > 0);
    const [from, to] = [Math.log(1e-3 / fanOut[fanOut.length - 1]), Math.log(60 / smallest)];
    const path = Array.from({ length: 90 }, (_, i) => {
      const at = equilibrium.totals(asked.units, Math.exp(from + ((to - from) * i) / 89));
      return [at.traffic, at.coding_entropy];
    });
    path.unshift([free.traffic, free.coding_entropy]);
    const x = axis(0, 1.05 * Math.max(free.traffic, answer.budget), false, BOX.left, BOX.right);
    const [here, height] = [answer.budget, answer.coding_entropy];
    if (here > free.traffic) path.unshift([here, height]);
    const tangent = [x.low, x.high].map((t) => [t, height + answer.beta * (t - here)]);
    const labels = ["budget T, links per step", "coding entropy H, nats"];
    draw("price", x, [0, 1.08 * free.coding_entropy], labels, path, [[here, height]], tangent);
    byId("panel-price-text").textContent =
      `At a budget of ${shown(here)} the coding entropy is ${shown(height)} nats of at most ` +
      `${shown(free.coding_entropy)}, and grows by ${shown(answer.beta)} nats per unit of traffic.`;
  }

  function describe(name, fanOut, values, what) {
    const end = values.length - 1;
    const best = values.indexOf(Math.max(...values));
    byId(`panel-${name}-text`).textContent =
      `${what} is ${shown(values[0])} at fan-out ${fanOut[0]} and ${shown(values[end])} at ${fanOut[end]}; ` +
      `largest, ${shown(values[best])}, at ${fanOut[best]}.`;
  }

  /** A scale from numbers to places in the drawing. */
  function axis(low, high, logarithmic, from, to) {
    const bend = logarithmic ? Math.log : (value) => value;
    const back = logarithmic ? Math.exp : (value) => value;
    const span = bend(high) - bend(low);
    return {
      low,
      high,
      ticks: logarithmic ? decades(low, high) : evenTicks(low, high),
      place: (value) => from + ((bend(value) - bend(low)) / span) * (to - from),
      at: (part) => (part === 1 ? high : back(bend(low) + part * span)),
    };
  }

  function evenTicks(low, high) {
    const rough = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((size) => size >= rough);
    const ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high * (1 + 1e-9); i += 1) ticks.push(i * step);
    return ticks;
  }

  function decades(low, high) {
    const ticks = [];
    for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) {
      for (const m of high / low > 100 ? [1] : [1, 2, 5]) {
        if (m * power >= low && m * power <= high) ticks.push(m * power);
      }
    }
    return ticks;
  }

  function draw(name, x, [low, high], [across, upwards], curve, dots, dashed = []) {
    const y = axis(low, high, false, BOX.bottom, BOX.top);
    const parts = [];
    const add = (tag, attributes, content) => {
      const made = document.createElementNS(SVG, tag);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      if (content !== undefined) made.textContent = content;
      parts.push(made);
    };
    const point = ([at, value]) => `${x.place(at).toFixed(2)},${y.place(value).toFixed(2)}`;
    for (const tick of x.ticks) {
      const at = x.place(tick).toFixed(2);
      add("path", { class: "axis", d: `M${at},${BOX.bottom}v5` });
      add("text", { x: at, y: BOX.bottom + 18, "text-anchor": "middle" }, shown(tick));
    }
    for (const tick of y.ticks) {
      const at = y.place(tick);
      add("path", { class: "grid", d: `M${BOX.left},${at.toFixed(2)}H${BOX.right}` });
      add("text", { x: BOX.left - 6, y: (at + 4).toFixed(2), "text-anchor": "end" }, shown(tick));
    }
    add("path", { class: "axis", d: `M${BOX.left},${BOX.top}V${BOX.bottom}H${BOX.right}` });
    add("text", { x: (BOX.left + BOX.right) / 2, y: BOX.bottom + 36, "text-anchor": "middle" }, across);
    add("text", { x: BOX.left, y: BOX.top - 3, "text-anchor": "start" }, upwards);
    const clipped = cut(dashed, low, high);
    if (clipped.length > 1) add("path", { class: "dashed", d: `M${clipped.map(point).join("L")}` });
    if (curve.length > 1) add("path", { class: "curve", d: `M${curve.map(point).join("L")}` });
    for (const dot of dots) {
      const [cx, cy] = point(dot).split(",");
      add("circle", { class: "dot", cx, cy, r: dots.length === 1 ? 5 : 2.5 });
    }
    byId(`panel-${name}`).querySelector("g").replaceChildren(...parts);
  }

  /** The part of a straight line that lies between two heights. */
  function cut(line, low, high) {
    if (line.length < 2) return [];
    const [[x0, y0], [x1, y1]] = line;
    if (y0 === y1) return y0 >= low && y0 <= high ? line : [];
    const at = (height) => [x0 + ((height - y0) / (y1 - y0)) * (x1 - x0), height];
    return line.map(([x, y]) => (y < low ? at(low) : y > high ? at(high) : [x, y]));
  }

  // what people do

  let waiting = false;
  function soon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      update();
    });
  }

  for (const name of Object.keys(scales)) {
    const choose = () => {
      if (name === "beta" || name === "budget") byId(`given-${name}`).checked = true;
    };
    byId(`${name}-slider`).addEventListener("input", (event) => {
      choose();
      const value = scales[name].value(event.target.valueAsNumber);
      byId(name).value = String(value);
      // a population's ends push each other along
      if (name === "first" && byId("last").valueAsNumber < value) byId("last").value = String(Math.max(value, 1));
      if (name === "last" && byId("first").valueAsNumber > value) byId("first").value = String(value);
      soon();
    });
    byId(name).addEventListener("input", () => {
      choose();
      soon();
    });
  }
  for (const id of ["given-beta", "given-budget", "logarithmic"]) byId(id).addEventListener("change", soon);
  byId("explorer-controls").addEventListener("submit", (event) => event.preventDefault());
  update();

  // on paper nothing can be unfolded
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("details:not([open]):not([hidden])")];
    for (const details of unfolded) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of unfolded) details.open = false;
  });
})();
