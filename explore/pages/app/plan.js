// Planning: size, tokens, learning rate, batch and optimizer move loss, interval and curve.
// A frame computes one prediction with its curve. The slices follow when the hand rests, a few
// predictions at a time, so that a hand that moves again is not kept waiting.
(function () {
  "use strict";
  const { el, count, short, loss, keep } = NCPL;
  const { Chart, category, legend } = NCPL.charts;
  const M = NCPL.model;
  const SHARES = Array.from({ length: 49 }, (_, i) => 0.04 + (0.96 * i) / 48);
  const SLICE = 25, REST_MS = 90, WORK_MS = 4;
  const MOVED = [["N", "parameters (non-embedding)", "params_non_embedding", count],
    ["D", "tokens", "data_tokens", count], ["rate", "learning rate", "learning_rate", short],
    ["batch", "batch (sequences)", "batch_size_sequences", short]];

  function limits(fit, field) {
    const [low, high] = fit.encoder.ranges[field];
    const wide = field === "params_non_embedding" || field === "data_tokens" ? [0.5, 8] : [1, 1];
    return [low * wide[0], high * wide[1]];
  }

  function startOf(fit, optimizer, params) {
    const start = fit.bases[optimizer].start;
    const found = { N: start.params_non_embedding, D: start.train_tokens, rate: start.learning_rate,
      batch: start.batch_size_sequences };
    for (const [key, , field] of MOVED) {
      const [low, high] = limits(fit, field), given = Number(params.get(key));
      if (given > 0 && Number.isFinite(given)) found[key] = given;
      found[key] = Math.min(Math.max(found[key], low), high);
    }
    found.batch = Math.max(Math.round(found.batch), 1);
    return found;
  }

  class Plan {
    constructor(main, fits, params) {
      this.fits = fits;
      const source = params.get("source");
      this.fit = fits.find((fit) => fit.family[0] === source) || fits[0];
      const names = Object.keys(this.fit.bases), asked = params.get("optimizer");
      this.optimizer = names.includes(asked) ? asked : names.includes("adamw") ? "adamw" : names[0];
      this.moved = startOf(this.fit, this.optimizer, params);
      this.controls = el("form", { class: "plan-controls", "aria-label": "Settings",
        onsubmit: (event) => event.preventDefault() });
      this.number = el("p", { class: "big", id: "plan-loss" });
      this.interval = el("p", { id: "plan-interval" });
      this.spoken = el("p", { class: "hidden", role: "status" });
      this.notes = el("ul", { class: "notes" });
      this.charts = el("div", { class: "plan-charts" });
      this.config = el("pre", { id: "plan-config", tabindex: "0", "aria-label": "Whole configuration" });
      this.base = el("p", { class: "note" });
      main.append(el("h1", {}, "Plan"), el("p", {}, "The bundle's forward pass runs in this page. ",
        "Move a setting; losses are nats per token of the source chosen, comparable with no other."),
        el("div", { class: "plan" },
          el("div", { class: "plan-head" }, this.number, this.interval, this.spoken), this.controls,
          el("div", { class: "plan-rest" }, this.notes, this.charts)),
        el("h2", {}, "The whole configuration"), this.base, this.config,
        el("p", { class: "note" }, "The same number: save it as config.json, then ",
          el("code", {}, "ncpl predict config.json"), ". Settings can not be left open here: the page states ",
          "all of them. ", el("code", {}, "ncpl predict"), " takes a configuration that leaves some out, draws ",
          "them from training runs like it, and widens the interval by what they are worth."));
      this.makeCharts();
      this.makeControls();
      this.update();
    }

    makeCharts() {
      const panel = (title, options) => {
        const box = el("section", {}, el("h2", {}, title));
        this.charts.append(box);
        return new Chart(box, options);
      };
      this.curve = panel("Loss curve", { x: { label: "tokens", text: count }, y: { label: "loss, nats" },
        height: 260, told: "Predicted loss curve" });
      this.byRate = panel("Over the learning rate", { x: { label: "learning rate", log: true },
        y: { label: "final loss, nats" }, height: 240, told: "Predicted loss over the learning rate" });
      this.byBatch = panel("Over the batch", { x: { label: "batch, sequences", log: true },
        y: { label: "final loss, nats" }, height: 240, told: "Predicted loss over the batch" });
      this.charts.append(legend([[category(0), "predicted, with its 90% interval"],
        [category(1), "the setting chosen"]]));
    }

    makeControls() {
      const sources = this.fits.map((fit) => [fit.family[0], `${fit.family[0]} (${fit.family[1]})`]);
      const optimizers = Object.keys(this.fit.bases).map((name) => [name, name || "any"]);
      const restart = () => {
        this.moved = startOf(this.fit, this.optimizer, new URLSearchParams(this.state()));
        this.makeControls();
        this.update();
      };
      this.controls.replaceChildren(
        NCPL.choice("losses of", sources, this.fit.family[0], (name) => {
          this.fit = this.fits.find((fit) => fit.family[0] === name);
          const names = Object.keys(this.fit.bases);
          if (!names.includes(this.optimizer)) this.optimizer = names.includes("adamw") ? "adamw" : names[0];
          restart();
        }),
        NCPL.choice("optimizer", optimizers, this.optimizer, (name) => {
          this.optimizer = name;
          // Rates of optimizers differ by orders of magnitude: begin at that of its training run.
          this.moved.rate = this.fit.bases[name].start.learning_rate;
          restart();
        }),
        ...MOVED.map(([key, label, field, text]) => {
          const [low, high] = limits(this.fit, field);
          return NCPL.slider(label, { low, high, value: this.moved[key], text, whole: key === "batch" },
            (value) => {
              this.moved[key] = value;
              this.ask();
            });
        }));
    }

    state() {
      const found = { source: this.fit.family[0], optimizer: this.optimizer };
      for (const [key] of MOVED) found[key] = String(Number(this.moved[key].toPrecision(6)));
      return found;
    }

    ask() {
      this.pause();
      if (this.frame) return;
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.update();
      });
    }

    update() {
      const { fit } = this, config = M.configOf(fit, this.optimizer, this.moved);
      const found = fit.predict(config, SHARES), row = found.row;
      const wrong = M.contradiction(fit, row);
      this.found = found;
      this.number.textContent = wrong ? "no run" : `${loss(found.loss)} nats per token`;
      this.interval.textContent = wrong || `90% interval ${loss(found.low)} to ${loss(found.high)}; the law ` +
        `of size and data alone says ${loss(fit.baseline(row.params_non_embedding, row.data_tokens))}`;
      if (!wrong) this.drawCurve(found);
      this.pause();
      this.resting = setTimeout(() => this.rest(config, found, wrong), REST_MS);
      this.frames = (this.frames || 0) + 1;
    }

    drawCurve({ curve, loss: end, low, high, row }) {
      const x = SHARES.map((share) => share * row.data_tokens);
      const y = curve || [];
      const last = row.data_tokens;
      this.curve.draw([
        { lines: [{ x: curve ? x : [], y, colour: category(0), width: 2 },
          { x: [last, last], y: [low, high], colour: category(0), width: 3 }],
        points: [{ x: last, y: end, colour: category(1), size: 5 }] }],
      curve ? null : { x: [0, last] });
      this.curve.tell(curve ? `Predicted loss curve from ${loss(y[0])} to ${loss(end)}` :
        "No curve: no training run had this schedule");
    }

    /** When the hand rests: slices, notes, the configuration, the address. */
    rest(config, found, wrong) {
      keep("plan", "", this.state());
      this.config.textContent = JSON.stringify(config, null, 1);
      const id = this.fit.bases[this.optimizer].run_id;
      this.base.replaceChildren("What is not moved is that of the training run of this optimizer lying ",
        "lowest below the law of size and data, ", NCPL.runLink(id), "; warm-up, decay and final rate keep ",
        "their shares, the shape is that of the trained size nearest.");
      this.notes.replaceChildren(...M.outside(this.fit, found.row).map((text) => el("li", {}, text)));
      this.spoken.textContent = wrong || `loss ${loss(found.loss)}, ${loss(found.low)} to ${loss(found.high)}`;
      if (!wrong) this.work(this.slices(found));
    }

    /** Stop what is done while the hand rests. */
    pause() {
      clearTimeout(this.resting);
      clearTimeout(this.working);
    }

    /** Go on with steps for a part of a frame, then let the page breathe. */
    work(steps) {
      const end = performance.now() + WORK_MS;
      while (performance.now() < end) if (steps.next().done) return;
      this.working = setTimeout(() => this.work(steps), 0);
    }

    * slices(found) {
      yield* this.slice(this.byRate, "rate", "learning_rate", found);
      yield* this.slice(this.byBatch, "batch", "batch_size_sequences", found);
    }

    /** Predict along one setting, a prediction a step, then draw. */
    * slice(chart, key, field, found) {
      const [low, high] = limits(this.fit, field), x = [], told = [];
      for (let i = 0; i < SLICE; i++) {
        const at = low * (high / low) ** (i / (SLICE - 1));
        const value = key === "batch" ? Math.max(Math.round(at), 1) : at;
        const config = M.configOf(this.fit, this.optimizer, { ...this.moved, [key]: value });
        const one = this.fit.predict(config);
        if (M.contradiction(this.fit, one.row)) continue;
        x.push(value);
        told.push(one);
        yield;
      }
      chart.draw([{ band: { x, low: told.map((p) => p.low), high: told.map((p) => p.high), colour: category(0) },
        lines: [{ x, y: told.map((p) => p.loss), colour: category(0), width: 2 }],
        points: [{ x: this.moved[key], y: found.loss, colour: category(1), size: 5 }] }]);
      const best = told.reduce((a, p, i) => (p.loss < told[a].loss ? i : a), 0);
      chart.tell(`Lowest predicted loss ${loss(told[best].loss)} at ${short(x[best])}`);
    }

    destroy() {
      this.pause();
      if (this.frame) cancelAnimationFrame(this.frame);
      for (const chart of [this.curve, this.byRate, this.byBatch]) chart.destroy();
    }
  }

  NCPL.pages.plan = {
    title: "Plan",
    async show(main, { params }) {
      const told = await NCPL.load("summary");
      if (!told.has_model) {
        main.append(el("h1", {}, "Plan"), el("p", {}, "This folder was written without a bundle. With one: ",
          el("code", {}, "ncpl-data explore")));
        return null;
      }
      const plan = new Plan(main, M.fitsOf(await NCPL.load("model")), params);
      NCPL.plan = plan;
      return () => plan.destroy();
    },
  };
})();
