// Plots of events: pointing or the arrow keys read values, dragging or + and - zoom in time.
(() => {
  const LEFT = 96, RIGHT = 984, SPLIT = 1.5, CUT = 50, FEWEST = 4;
  const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200,
    86400, 172800, 604800, 1209600, 2419200, 7862400, 31449600].map((seconds) => seconds * 1000);
  const number = (value) => Number.isNaN(value) ? "missing"
    : Math.abs(value) >= 1e9 || (value !== 0 && Math.abs(value) < 1e-4) ? value.toExponential(2)
      : value.toLocaleString("en-US", { maximumSignificantDigits: 4 });

  const unpack = (spec) => {
    const bytes = Uint8Array.from(atob(spec.d), (c) => c.charCodeAt(0));
    let at = 0;
    const take = (Kind) => {
      const part = new Kind(bytes.buffer, at, spec.n);
      at += spec.n * Kind.BYTES_PER_ELEMENT;
      return part;
    };
    const span = spec.t[1] - spec.t[0];
    const time = Float64Array.from(take(Uint32Array), (level) => spec.t[0] + level / 4294967295 * span);
    const values = (low, high) => Float64Array.from(take(Uint16Array),
      (level) => level === 65535 ? NaN : low + level / 65534 * (high - low));
    const channels = spec.c.map(([name, lowest, highest, tolerance]) => {
      const low = values(lowest, highest);
      const high = spec.h ? values(lowest, highest) : low;
      return { name, low, high, expected: values(lowest, highest), tolerance };
    });
    return { time, channels, severity: values(0, 100), flagged: take(Uint8Array), zone: spec.z };
  };

  const enliven = (figure) => {
    const svg = figure.querySelector("svg"), box = figure.querySelector(".scroll");
    const still = svg.innerHTML, height = svg.viewBox.baseVal.height;
    let data = null, steps = [], usual = 0, view = null, cursor = -1, dragged = null;

    const make = (parent, tag, attributes, text) => {
      const made = document.createElementNS(svg.namespaceURI, tag);
      for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
      if (text !== undefined) made.textContent = text;
      return parent.appendChild(made);
    };
    const wake = () => {
      if (data) return;
      data = unpack(JSON.parse(figure.dataset.plot));
      steps = Array.from(data.time.slice(1), (time, place) => time - data.time[place]);
      usual = steps.slice().sort((a, b) => a - b)[steps.length >> 1] || 1;
      view = whole();
    };
    const whole = () => [data.time[0], data.time[data.time.length - 1]];
    const zoomed = () => view[0] > whole()[0] || view[1] < whole()[1];
    const x = (time) => view[1] > view[0] ? LEFT + (time - view[0]) / (view[1] - view[0]) * (RIGHT - LEFT) : (LEFT + RIGHT) / 2;

    // Local time in the pipeline's zone.
    const clock = (options) => new Intl.DateTimeFormat("sv-SE", { timeZone: data.zone, ...options });
    const moment = (time) => clock({ dateStyle: "short", timeStyle: "medium" }).format(time);
    const offset = (time) => Date.parse(`${moment(time).replace(" ", "T")}Z`) - Math.floor(time / 1000) * 1000;
    const timeTicks = () => {
      const step = STEPS.find((s) => (view[1] - view[0]) / s <= 6) || STEPS[STEPS.length - 1];
      const shift = offset(view[0]), ticks = [];
      for (let at = Math.ceil((view[0] + shift) / step) * step - shift; at <= view[1] && ticks.length < 24; at += step) {
        const text = moment(at), day = step >= 86400000;
        ticks.push([at, day ? text.slice(0, 10) : ticks.length && text.slice(11, 16) !== "00:00"
          ? text.slice(11, step < 60000 ? 19 : 16) : text.slice(5, step < 60000 ? 19 : 16)]);
      }
      return ticks;
    };
    const numberTicks = (low, high) => {
      if (!(high > low)) return [low];
      const rough = (high - low) / 3, power = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
      const ticks = [];
      for (let place = Math.ceil(low / step - 1e-9); place * step <= high + 1e-9 * step; place += 1) ticks.push(place * step);
      return ticks;
    };

    const gap = (place) => place > 0 && steps[place - 1] > SPLIT * usual;
    // The network bridged those rows that are missing before a point with a score.
    const cut = (place) => gap(place) && data.channels.every((channel) => Number.isNaN(channel.expected[place]));
    const line = (values, other, y, parted = cut) => {
      let path = "", pen = false;
      data.time.forEach((time, place) => {
        if (Number.isNaN(values[place])) { pen = false; return; }
        if (parted(place)) pen = false;
        const at = x(time).toFixed(1);
        path += `${pen ? "L" : "M"}${at} ${y(values[place]).toFixed(1)}`;
        if (other && other[place] !== values[place]) path += `L${at} ${y(other[place]).toFixed(1)}`;
        else if (!pen) path += "h0";
        pen = true;
      });
      return path;
    };
    const band = (channel, y) => {
      let path = "", run = [];
      const close = () => {
        if (run.length) {
          const edge = (side) => (p) => `${x(data.time[p]).toFixed(1)} ${y(channel.expected[p] + side * channel.tolerance).toFixed(1)}`;
          path += `M${run.map(edge(1)).join("L")}L${run.reverse().map(edge(-1)).join("L")}z`;
        }
        run = [];
      };
      data.time.forEach((_, place) => {
        if (Number.isNaN(channel.expected[place]) || cut(place)) close();
        if (!Number.isNaN(channel.expected[place])) run.push(place);
      });
      close();
      return path;
    };
    const filledIn = (channel, y) => {
      let last = NaN;
      const carried = channel.low.map((value) => { if (!Number.isNaN(value)) last = value; return last; });
      const missing = (place) => Number.isNaN(channel.low[place] ?? 0);
      const shown = carried.map((value, place) => (missing(place) || missing(place + 1)) && !Number.isNaN(channel.expected[place]) ? value : NaN);
      const rows = Array.from(data.time.keys()).filter((place) => gap(place) && !cut(place) && !Number.isNaN(carried[place - 1]));
      return line(shown, null, y, gap) + rows.map((place) =>
        `M${x(data.time[place - 1]).toFixed(1)} ${y(carried[place - 1]).toFixed(1)}H${x(data.time[place]).toFixed(1)}`).join("");
    };
    const inView = () => Array.from(data.time.keys()).filter((place) => data.time[place] >= view[0] && data.time[place] <= view[1]);

    const spanOf = (channel) => {
      const seen = inView(), known = seen.flatMap((p) => [channel.low[p], channel.high[p], channel.expected[p]]).filter((v) => !Number.isNaN(v));
      let low = known.length ? Math.min(...known) : 0, high = known.length ? Math.max(...known) : 1;
      const expected = seen.map((p) => channel.expected[p]).filter((v) => !Number.isNaN(v));
      if (channel.tolerance !== null && expected.length) {
        const room = high > low ? high - low : channel.tolerance;
        [low, high] = [Math.min(low, Math.max(Math.min(...expected) - channel.tolerance, low - room)),
          Math.max(high, Math.min(Math.max(...expected) + channel.tolerance, high + room))];
      }
      return [low, high];
    };
    const draw = () => {
      svg.innerHTML = still;
      if (zoomed()) {
        const ticks = timeTicks();
        svg.querySelectorAll(":scope > .tk").forEach((old) => old.remove());
        svg.querySelectorAll(".pn").forEach((panel, place) => drawPanel(panel, data.channels[place], ticks));
        for (const [at, text] of ticks) {
          if (x(at) >= LEFT + 30 && x(at) <= RIGHT - 30) make(svg, "text", { class: "tk", x: x(at), y: height - 8, "text-anchor": "middle" }, text);
        }
      }
      point();
    };
    const drawPanel = (panel, channel, ticks) => {
      const top = Number(panel.dataset.top), tall = Number(panel.dataset.height), bottom = top + tall;
      const [low, high] = channel ? spanOf(channel) : [0, 100], room = channel ? 0.06 * (high - low) : 0;
      const y = (value) => high > low ? bottom - (value - low + room) / (high - low + 2 * room) * tall : (top + bottom) / 2;
      panel.querySelectorAll(":scope > :not(.nm)").forEach((old) => old.remove());
      // An inner svg cuts off what lies outside.
      const inner = make(panel, "svg", { x: LEFT, y: top - 4, width: RIGHT - LEFT, height: tall + 8, viewBox: `${LEFT} ${top - 4} ${RIGHT - LEFT} ${tall + 8}` });
      const flagged = inView().length ? Array.from(data.flagged.keys()).filter((p) => data.flagged[p]) : [];
      if (flagged.length) {
        const from = x(data.time[flagged[0]]) - 3, to = x(data.time[flagged[flagged.length - 1]]) + 3;
        make(inner, "rect", { class: "ev", x: from, y: top, width: to - from, height: tall });
      }
      for (const [at] of ticks) make(inner, "path", { class: "gr", d: `M${x(at)} ${top}V${bottom}` });
      for (const value of channel ? numberTicks(low, high) : [0, 100]) {
        make(inner, "path", { class: "gr", d: `M${LEFT} ${y(value)}H${RIGHT}` });
        make(panel, "text", { class: "tk", x: LEFT - 10, y: y(value) + 6, "text-anchor": "end" }, number(value));
      }
      const only = (values) => values.map((value, place) => data.flagged[place] ? value : NaN);
      if (channel) {
        if (channel.tolerance !== null) make(inner, "path", { class: "bd", d: band(channel, y) });
        make(inner, "path", { class: "ex", d: line(channel.expected, null, y) });
        make(inner, "path", { class: "ob", d: line(channel.low, channel.high, y, gap) });
        make(inner, "path", { class: "fl", d: line(only(channel.low), only(channel.high), y) });
        make(inner, "path", { class: "im", d: filledIn(channel, y) });
      } else {
        make(inner, "path", { class: "sv", d: line(data.severity, null, y) });
        make(inner, "path", { class: "fl", d: line(only(data.severity), null, y) });
        make(inner, "path", { class: "cut", d: `M${LEFT} ${y(CUT)}H${RIGHT}` });
        make(panel, "text", { class: "tk", x: LEFT - 10, y: y(CUT) + 6, "text-anchor": "end" }, "cut");
      }
    };

    const point = () => {
      svg.querySelectorAll(".cu").forEach((old) => old.remove());
      if (cursor < 0) { readout.textContent = hint; return; }
      make(svg, "path", { class: "cu", d: `M${x(data.time[cursor])} 20V${height - 28}` });
      const came = data.channels.map((c) => {
        const [low, high, expected] = [c.low[cursor], c.high[cursor], c.expected[cursor]];
        const value = low === high || Number.isNaN(low) ? number(low) : `${number(low)} to ${number(high)}`;
        const band = c.tolerance === null ? "" : ` ± ${number(c.tolerance)}`;
        return `${c.name}: ${value}${Number.isNaN(expected) ? ", not scored" : `, expected ${number(expected)}${band}`}`;
      });
      const severity = data.severity[cursor];
      readout.textContent = [moment(data.time[cursor]), ...came,
        Number.isNaN(severity) ? "" : `severity ${Math.round(severity)}${data.flagged[cursor] ? ", flagged" : ""}`].filter(Boolean).join(" · ");
    };
    const moveTo = (place) => {
      const seen = inView();
      if (!seen.length) return;
      cursor = Math.min(Math.max(place, seen[0]), seen[seen.length - 1]);
      point();
    };
    const show = (from, to) => {
      const [first, last] = whole(), least = Math.min(FEWEST * usual, last - first);
      if (to - from < least) [from, to] = [(from + to - least) / 2, (from + to + least) / 2];
      view = [Math.max(from, first), Math.min(to, last)];
      if (cursor >= 0 && (data.time[cursor] < view[0] || data.time[cursor] > view[1])) cursor = -1;
      draw();
    };
    const zoom = (factor) => {
      wake();
      const middle = cursor >= 0 ? data.time[cursor] : (view[0] + view[1]) / 2, half = (view[1] - view[0]) * factor / 2;
      show(middle - half, middle + half);
    };
    const reset = () => { wake(); show(...whole()); };

    const timeAt = (event) => {
      const frame = svg.getBoundingClientRect(), place = (event.clientX - frame.left) / frame.width * 1000;
      return view[0] + Math.min(Math.max((place - LEFT) / (RIGHT - LEFT), 0), 1) * (view[1] - view[0]);
    };
    svg.addEventListener("pointermove", (event) => {
      wake();
      const time = timeAt(event);
      let nearest = 0;
      data.time.forEach((other, place) => { if (Math.abs(other - time) < Math.abs(data.time[nearest] - time)) nearest = place; });
      moveTo(nearest);
      svg.querySelectorAll(".se").forEach((old) => old.remove());
      if (dragged !== null) {
        const ends = [x(dragged), x(time)].sort((a, b) => a - b);
        make(svg, "rect", { class: "se", x: ends[0], y: 20, width: ends[1] - ends[0], height: height - 48 });
      }
    });
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      wake();
      dragged = timeAt(event);
      if (event.pointerType === "mouse") svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointerup", (event) => {
      const from = dragged;
      dragged = null;
      svg.querySelectorAll(".se").forEach((old) => old.remove());
      if (from === null) return;
      const to = timeAt(event);
      if (Math.abs(x(to) - x(from)) > 8) show(Math.min(from, to), Math.max(from, to));
    });
    svg.addEventListener("pointercancel", () => { dragged = null; });
    svg.addEventListener("pointerleave", () => { if (dragged === null && document.activeElement !== box) { cursor = -1; if (data) point(); } });
    svg.addEventListener("dblclick", reset);

    const tools = document.createElement("div"), readout = document.createElement("output"), hint = "Point at the plot to read it, drag to zoom.";
    tools.className = "tools";
    readout.setAttribute("aria-live", "polite");
    readout.textContent = hint;
    for (const [sign, name, act] of [["+", "Zoom in", () => zoom(0.5)], ["−", "Zoom out", () => zoom(2)], ["↔", "Show all of it", reset]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = sign;
      button.title = name;
      button.setAttribute("aria-label", name);
      button.addEventListener("click", act);
      tools.append(button);
    }
    tools.append(readout);
    box.after(tools);
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Plot. The arrow keys read values, plus and minus zoom, Escape shows all of it.");
    box.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const far = event.shiftKey ? 10 : 1;
      wake();
      const start = () => { const flagged = data.flagged.indexOf(1); return flagged < 0 ? 0 : flagged; };
      const act = {
        ArrowLeft: () => moveTo(cursor < 0 ? start() : cursor - far), ArrowRight: () => moveTo(cursor < 0 ? start() : cursor + far),
        Home: () => moveTo(0), End: () => moveTo(data.time.length - 1),
        "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), Escape: reset, 0: reset,
      }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  };
  const enlivenAll = (root) => root.querySelectorAll("figure[data-plot]").forEach(enliven);
  enlivenAll(document);
  // The review app puts plots into a page that is there already.
  document.addEventListener("htmx:afterSwap", (event) => enlivenAll(event.target));
})();
