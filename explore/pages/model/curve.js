// Loss curves, as ncpl/data/schedules.py and ncpl/model/curve_head.py: a shape that ends at zero.
(function () {
  "use strict";
  const GRID = 256, KNOTS = [0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0];
  const COEFFICIENT_SCALE = 0.1, LAYERS = ["layers.0", "layers.2", "layers.4"];
  const clip = (x, low, high) => Math.min(Math.max(x, low), high);
  const finite = (x, other) => (Number.isFinite(x) ? x : other);

  /** The schedule of a derived configuration, as shares of the run and of the peak rate. */
  class Schedule {
    constructor(row) {
      const kind = row.schedule || "cosine";
      this.warmup = clip(finite(row.warmup_frac, 0), 0, 0.9);
      this.lowest = clip(finite(row.min_learning_rate / row.learning_rate, 0), 0, 1);
      const decay = clip(finite(row.decay_frac, 1 - this.warmup), 1e-3, 1);
      this.decay = kind === "constant" ? 0 : decay;
      this.isCosine = kind === "cosine";
      this.area = new Float64Array(GRID + 1);
      for (let i = 0; i < GRID; i++) this.area[i + 1] = this.area[i] + this.rate((i + 0.5) / GRID);
    }

    rate(at) {
      const { warmup, decay, lowest } = this;
      const risen = warmup > 0 ? clip(at / Math.max(warmup, 1e-9), 0, 1) : 1;
      if (this.isCosine) {
        const done = clip((at - warmup) / (1 - warmup), 0, 1);
        return risen * (lowest + ((1 - lowest) * (1 + Math.cos(Math.PI * done))) / 2);
      }
      const done = decay > 0 ? clip((at - (1 - decay)) / Math.max(decay, 1e-9), 0, 1) : 0;
      return risen * (1 - (1 - lowest) * done);
    }

    inputs() {
      return [this.warmup, this.decay, this.lowest, this.isCosine ? 0 : 1];
    }

    /** Return the functions a curve is made of, at a share of the run. */
    functions(share) {
      const at = share * GRID, cell = clip(Math.floor(at), 0, GRID - 1);
      const below = this.area[cell], above = this.area[cell + 1];
      const soFar = Math.max((below + (at - cell) * (above - below)) / this.area[GRID], 1e-4);
      const toCome = Math.max(1 - soFar, 0), frac = Math.max(share, 1e-4);
      const rate = this.rate(share), last = this.rate(1), found = [];
      for (const base of [soFar, frac]) {
        for (const p of [0.25, 0.5, 1]) found.push(base ** -p - 1);
      }
      for (const p of [1, 0.5, 2]) found.push(rate ** p - last ** p);
      found.push(toCome, Math.sqrt(toCome), 1 - share);
      for (let k = 1; k < KNOTS.length - 1; k++) found.push(hat(soFar, k));
      return found;
    }
  }

  function hat(x, k) {
    if (x <= KNOTS[k - 1] || x >= KNOTS[k + 1]) return 0;
    if (x <= KNOTS[k]) return (x - KNOTS[k - 1]) / (KNOTS[k] - KNOTS[k - 1]);
    return (KNOTS[k + 1] - x) / (KNOTS[k + 1] - KNOTS[k]);
  }

  /** Return the coefficients of the functions, by one member's head. */
  function coefficients(head, hidden, inputs) {
    let x = [...hidden, ...inputs.map((value, i) => clip(value, head.low[i], head.high[i]))];
    LAYERS.forEach((name, depth) => {
      const weight = head[`${name}.weight`], bias = head[`${name}.bias`], from = x;
      x = Array.from(bias, (shift, i) => {
        let sum = shift;
        for (let j = 0; j < from.length; j++) sum += weight[i * from.length + j] * from[j];
        return depth === LAYERS.length - 1 ? COEFFICIENT_SCALE * sum : Math.tanh(sum);
      });
    });
    const count = x.length;
    return Array.from({ length: count }, (_, j) => {
      let sum = 0;
      for (let k = 0; k < count; k++) sum += x[k] * head.basis[j * count + k];
      return sum;
    });
  }

  /** Return what a curve head reads beside the transformer. */
  function headInputs(fit, row, inputs, seen, schedule) {
    const numbers = Array.from(inputs.numbers, (value, j) => {
      const own = j < seen.length ? seen[j] : value;
      return inputs.codes[j] === 1 ? own : 0;
    });
    const steps = finite(Math.log(row.train_steps / 1e4), 0), count = fit.surface.nOptimizers;
    const place = Number.isNaN(inputs.law[5]) ? count : inputs.law[5];
    const optimizer = Array.from({ length: count + 1 }, (_, i) => (i === place ? 1 : 0));
    return [...numbers, ...schedule.inputs(), steps, ...optimizer];
  }
  Object.assign(NCPL.model, { Schedule, curveCoefficients: coefficients, headInputs });
})();
