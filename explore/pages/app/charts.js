// One chart: uPlot draws axes, ticks and zoom, layers are drawn between them.
// A layer is { lines: [{x, y, colour, width, dash}], points: [{x, y, colour, label, href, size}],
// band: {x, low, high, colour} } or a function of the canvas.
(function () {
  "use strict";
  const { el } = NCPL;
  const NEAR = 18;

  const PALETTE_LIGHT = ["#0b6bb5", "#b5470b", "#007a5e", "#8f3f97", "#8a6d00", "#c2185b", "#3d6e00",
    "#5a5a5a"];
  const PALETTE_DARK = ["#6cb8f5", "#ff9c66", "#4fd1a8", "#d69be0", "#e6c84a", "#ff8fb8", "#a5d65a",
    "#bdbdbd"];
  const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;

  /** Return the colour of a category. */
  const category = (i) => (isDark() ? PALETTE_DARK : PALETTE_LIGHT)[i % PALETTE_LIGHT.length];

  /** Return the colour of a share between 0 and 1. */
  function ramp(share) {
    const at = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
    const i = Math.min(Math.floor(at), RAMP.length - 2), part = at - i;
    const mixed = RAMP[i].map((a, k) => Math.round(a + part * (RAMP[i + 1][k] - a)));
    return `rgb(${mixed.join(",")})`;
  }

  /** Return colours of values of a field, and what they mean: numbers on a ramp, names in turn. */
  function colours(values, isNumber, name) {
    const given = values.filter((v) => v !== null && v !== undefined);
    if (isNumber && new Set(given).size > 6) {
      const isLog = given.every((v) => v > 0) && Math.max(...given) / Math.min(...given) > 20;
      const at = (v) => (isLog ? Math.log(v) : v);
      const low = at(Math.min(...given)), wide = at(Math.max(...given)) - low || 1;
      const key = [0, 0.25, 0.5, 0.75, 1].map((share) => {
        const value = low + share * wide;
        return [ramp(share), NCPL.shown(name, isLog ? Math.exp(value) : value)];
      });
      return { of: (v) => (v === null ? "#888" : ramp((at(v) - low) / wide)), key };
    }
    const names = [...new Set(given)];
    names.sort((a, b) => (isNumber ? a - b : String(a) < String(b) ? -1 : 1));
    const place = new Map(names.map((value, i) => [value, i]));
    const key = names.slice(0, 24).map((v, i) => [category(i), NCPL.shown(name, v)]);
    if (given.length < values.length) key.push(["#888", "not stated"]);
    return { of: (v) => (place.has(v) ? category(place.get(v)) : "#888"), key };
  }

  /** Return the key of a chart as a list. */
  function legend(pairs) {
    return el("ul", { class: "legend" }, pairs.map(([colour, text]) => {
      const mark = el("span", { class: "mark", "aria-hidden": "true" });
      mark.style.background = colour;
      return el("li", {}, mark, text);
    }));
  }

  function extent(layers, axis) {
    let low = Infinity, high = -Infinity;
    const take = (value) => {
      if (value === null || !Number.isFinite(value)) return;
      low = Math.min(low, value);
      high = Math.max(high, value);
    };
    for (const layer of layers) {
      for (const line of layer.lines || []) for (const value of line[axis]) take(value);
      for (const point of layer.points || []) take(point[axis]);
      if (layer.band) {
        for (const name of axis === "x" ? ["x"] : ["low", "high"]) layer.band[name].forEach(take);
      }
    }
    return [low, high];
  }

  function padded([low, high], isLog) {
    if (!(low <= high)) return isLog ? [1, 10] : [0, 1];
    if (isLog && low > 0) {
      const room = Math.max(Math.log(high / low) * 0.04, 0.02);
      return [low * Math.exp(-room), high * Math.exp(room)];
    }
    const room = (high - low || Math.abs(low) || 1) * 0.04;
    return [low - room, high + room];
  }

  /** Return about six round numbers between two ends of a logarithmic axis. */
  function logTicks(low, high) {
    for (const steps of [[1, 2, 3, 4, 5, 6, 8], [1, 2, 5], [1, 3], [1]]) {
      const found = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
        for (const step of steps) {
          const at = Number((step * 10 ** power).toPrecision(2));
          if (at >= low && at <= high) found.push(at);
        }
      }
      if (found.length <= 6) return found.length ? found : [low, high];
    }
    const least = Math.ceil(Math.log10(low)), wide = Math.ceil((Math.log10(high) - least) / 5);
    return Array.from({ length: 6 }, (_, i) => 10 ** (least + i * wide)).filter((at) => at <= high);
  }

  /** A chart in an element; `told` is its text for who can not see it. */
  class Chart {
    constructor(parent, { x, y, height, told, onPick }) {
      this.axes = { x, y };
      this.layers = [];
      this.onPick = onPick;
      this.frame = el("div", { class: "chart", role: "img", "aria-label": told });
      this.tip = el("div", { class: "tip", hidden: true });
      this.holder = el("div", { class: "chart-holder" }, this.frame, this.tip);
      parent.append(this.holder);
      this.height = height || 320;
      this.watch = new ResizeObserver(() => this.resize());
    }

    /** Say what the chart shows now. */
    tell(text) {
      this.frame.setAttribute("aria-label", text);
    }

    /** Draw layers; `ranges` fixes x or y instead of what the layers span. */
    draw(layers, ranges) {
      this.layers = layers;
      const ends = ["x", "y"].map((axis) =>
        (ranges && ranges[axis]) || padded(extent(layers, axis), this.axes[axis].log));
      const data = ends.map((pair) => pair.slice());
      this.ranges = { x: ends[0], y: ends[1] };
      if (this.plot) this.plot.setData(data);
      else this.make(data);
    }

    make(data) {
      const text = NCPL.colour("--text"), grid = NCPL.colour("--grid");
      const axis = (name, size) => ({
        label: this.axes[name].label, stroke: text, size, labelSize: 22, font: "12px system-ui",
        labelFont: "12px system-ui", grid: { stroke: grid, width: 1 },
        ticks: { stroke: grid, width: 1 },
        ...(this.axes[name].log ? { splits: (_, i, low, high) => logTicks(low, high), filter: (_, ticks) => ticks } : {}),
        values: (_, ticks) => ticks.map((tick) =>
          (tick === null ? "" : (this.axes[name].text || NCPL.short)(tick))),
      });
      const scale = (name) => ({
        time: false, distr: this.axes[name].log ? 3 : 1, range: (_, low, high) => [low, high],
      });
      const series = { paths: () => null, points: { show: false } };
      this.plot = new uPlot({
        width: this.width(), height: this.height,
        scales: { x: scale("x"), y: scale("y") },
        axes: [axis("x", 34), axis("y", 58)],
        series: [{}, series],
        legend: { show: false },
        cursor: { drag: { x: true, y: true, uni: 20 }, points: { show: false } },
        hooks: { draw: [(u) => this.paint(u)], setCursor: [() => this.hover()] },
      }, data, this.frame);
      this.plot.over.addEventListener("click", () => this.pick());
      this.plot.over.addEventListener("mouseleave", () => { this.tip.hidden = true; });
      this.watch.observe(this.holder);
    }

    width() {
      return Math.max(this.holder.clientWidth || 0, 260);
    }

    resize() {
      const width = this.width();
      if (this.plot && width !== this.plot.width) this.plot.setSize({ width, height: this.height });
    }

    paint(u) {
      const canvas = u.ctx, box = u.bbox;
      canvas.save();
      canvas.beginPath();
      canvas.rect(box.left, box.top, box.width, box.height);
      canvas.clip();
      const at = { x: (v) => u.valToPos(v, "x", true), y: (v) => u.valToPos(v, "y", true) };
      const ratio = devicePixelRatio || 1;
      for (const layer of this.layers) {
        if (typeof layer.paint === "function") layer.paint(canvas, at, ratio);
        if (layer.band) paintBand(canvas, at, layer.band);
        for (const line of layer.lines || []) paintLine(canvas, at, line, ratio);
        for (const point of layer.points || []) paintPoint(canvas, at, point, ratio);
      }
      canvas.restore();
    }

    nearest() {
      const { left, top } = this.plot.cursor;
      if (left === null || left < 0) return null;
      let best = null, least = NEAR;
      for (const layer of this.layers) {
        for (const point of layer.points || []) {
          if (!point.label) continue;
          const gap = Math.hypot(this.plot.valToPos(point.x, "x") - left,
            this.plot.valToPos(point.y, "y") - top);
          if (gap < least) [best, least] = [point, gap];
        }
        for (const line of layer.lines || []) {
          if (!line.label) continue;
          for (let i = 0; i < line.x.length; i++) {
            const gap = Math.hypot(this.plot.valToPos(line.x[i], "x") - left,
              this.plot.valToPos(line.y[i], "y") - top);
            if (gap < least) [best, least] = [{ ...line, x: line.x[i], y: line.y[i] }, gap];
          }
        }
      }
      return best;
    }

    hover() {
      const found = this.nearest();
      this.tip.hidden = !found;
      this.frame.classList.toggle("can-pick", Boolean(found && found.href));
      if (!found) return;
      this.tip.textContent = found.label;
      const { left, top } = this.plot.cursor, box = this.plot.bbox, ratio = devicePixelRatio || 1;
      const x = left + box.left / ratio;
      this.tip.style.top = `${top + box.top / ratio + 14}px`;
      this.tip.style.left = `${Math.max(Math.min(x, this.width() - this.tip.offsetWidth - 4), 0)}px`;
    }

    pick() {
      const found = this.nearest();
      if (found && found.href) location.hash = found.href;
    }

    destroy() {
      this.watch.disconnect();
      if (this.plot) this.plot.destroy();
    }
  }

  function paintLine(canvas, at, line, ratio) {
    canvas.strokeStyle = line.colour;
    canvas.globalAlpha = line.alpha || 1;
    canvas.lineWidth = (line.width || 1.5) * ratio;
    canvas.setLineDash((line.dash || []).map((d) => d * ratio));
    canvas.beginPath();
    let isDown = false;
    for (let i = 0; i < line.x.length; i++) {
      const y = line.y[i];
      if (y === null || !Number.isFinite(y)) {
        isDown = false;
        continue;
      }
      canvas[isDown ? "lineTo" : "moveTo"](at.x(line.x[i]), at.y(y));
      isDown = true;
    }
    canvas.stroke();
    canvas.setLineDash([]);
    canvas.globalAlpha = 1;
  }

  function paintPoint(canvas, at, point, ratio) {
    canvas.beginPath();
    canvas.arc(at.x(point.x), at.y(point.y), (point.size || 3) * ratio, 0, 2 * Math.PI);
    canvas.fillStyle = point.colour;
    canvas.globalAlpha = point.alpha || 1;
    canvas.fill();
    canvas.globalAlpha = 1;
    if (point.ring) {
      canvas.strokeStyle = point.ring;
      canvas.lineWidth = ratio;
      canvas.stroke();
    }
  }

  function paintBand(canvas, at, { x, low, high, colour }) {
    canvas.beginPath();
    x.forEach((v, i) => canvas[i ? "lineTo" : "moveTo"](at.x(v), at.y(low[i])));
    for (let i = x.length - 1; i >= 0; i--) canvas.lineTo(at.x(x[i]), at.y(high[i]));
    canvas.closePath();
    canvas.fillStyle = colour;
    canvas.globalAlpha = 0.2;
    canvas.fill();
    canvas.globalAlpha = 1;
  }

  NCPL.charts = { Chart, category, ramp, colours, legend };
})();
