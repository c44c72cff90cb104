// A prediction of the bundle for one whole configuration: loss, 90% interval, curve.
// As ncpl/model/{ensemble,intervals}.py; equal to Python to 1e-5, which a test holds.
(function () {
  "use strict";
  const M = NCPL.model;
  const BEND = 0.75, MEASURED_DISTANCE = 1, UNMEASURED = 0.05;
  const VIEWS = { f4: Float32Array, f8: Float64Array, i4: Int32Array };

  function bytesOf(text) {
    const raw = atob(text), found = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
    return found.buffer;
  }

  class Fit {
    constructor(entry, model, buffer) {
      Object.assign(this, entry);
      this.table = model.fields;
      this.extra = model.extra;
      this.networkFields = [...this.encoder.context, ...this.encoder.recipe];
      this.fields = [...this.networkFields, ...this.encoder.compared];
      this.optimizers = this.encoder.categories.optimizer || [];
      this.vocabulary = new Map();
      for (const name of this.fields) {
        if (this.table[name].kind !== "category") continue;
        for (const value of this.encoder.categories[name] || []) {
          this.vocabulary.set(name + "\u0000" + value, this.vocabulary.size + 2);
        }
      }
      const parts = {};
      for (const [name, [kind, shape, offset]] of Object.entries(this.arrays)) {
        const cut = name.indexOf("/"), part = name.slice(0, cut);
        const count = shape.reduce((a, b) => a * b, 1);
        (parts[part] = parts[part] || {})[name.slice(cut + 1)] =
          new VIEWS[kind](buffer, offset, count);
      }
      this.members = this.seeds.map((seed) => new M.Member(parts[seed], this));
      this.heads = this.seeds.map((seed) => parts["head" + seed]);
      const shared = parts[this.seeds[0]], own = {};
      for (const [name, array] of Object.entries(shared)) {
        if (name.startsWith("surface.")) own[name.slice(8)] = array;
      }
      this.surface = new M.Surface(own);
      this.low = shared.low;
      this.high = shared.high;
      this.scale = shared.scale;
      this.process = parts.process ? new M.Process(parts.process) : null;
    }

    /** Return numbers with the law's fields as distances to its optimum, before any limit. */
    seen(inputs, coefficients) {
      const away = this.surface.distances(coefficients, inputs.law);
      return Float64Array.from(this.networkFields, (name, j) => {
        if (name === "learning_rate") return away[0];
        return name === "batch_tokens" ? away[1] : inputs.numbers[j];
      });
    }

    /** Return { loss, low, high, curve, notes } of a whole configuration. */
    predict(config, shares) {
      const row = M.derive(config, this.extra), inputs = M.encode(this, row);
      const coefficients = this.surface.coefficients(inputs.law);
      const seen = this.seen(inputs, coefficients);
      const limited = seen.map((x, j) => Math.min(Math.max(x, this.low[j]), this.high[j]));
      const atSurface = this.surface.value(coefficients, inputs.law);
      const whole = this.process ? atSurface + this.process.mean(inputs, this.surface) : atSurface;
      const kept = this.process ? this.process.kept(inputs.law[0]) : 1;
      const outs = this.members.map((member) => {
        const out = member.read(limited, inputs.codes);
        const local = coefficients.map((c, k) => c + this.scale[k] * out.correction[k]);
        let loss = this.surface.value(local, inputs.law) + this.residual_scale * out.residual;
        if (this.process_share) {
          loss += this.process_share * (whole - loss);
          loss = atSurface + kept * (loss - atSurface);
        }
        return { loss, scale: Math.exp(out.logScale), hidden: out.hidden };
      });
      const found = this.interval(outs, coefficients[0] + this.surface.lowest[0], row);
      found.curve = shares ? this.curve(row, inputs, seen, outs, shares) : null;
      found.row = row;
      return found;
    }

    interval(outs, best, row) {
      const count = outs.length, f = this.factors;
      const loss = outs.reduce((sum, out) => sum + out.loss, 0) / count;
      const square = outs.reduce((sum, out) => sum + out.scale ** 2, 0) / count;
      const spread = outs.reduce((sum, out) => sum + (out.loss - loss) ** 2, 0) / count;
      const scale = Math.sqrt(square + spread), above = Math.max(loss - best, 0);
      const error = (scale / f.typical) ** f.power * Math.exp(f.growth * above ** BEND);
      const far = M.distance(this, row), apart = M.apart(this, row);
      const unmeasured = (x) => UNMEASURED * Math.max(x - MEASURED_DISTANCE, 0) ** 2;
      const half = f.inside * error + f.outside * far + f.apart * apart + unmeasured(far) +
        unmeasured(apart);
      const floor = Math.min(this.surface.base[4], loss);
      return { loss, low: Math.max(loss - half, floor), high: loss + half };
    }

    /** Return losses at shares of the run; null without curves, or under an unseen schedule. */
    curve(row, inputs, seen, outs, shares) {
      const known = this.encoder.categories.schedule || [];
      if (!this.has_curves || (row.schedule && !known.includes(row.schedule))) return null;
      const schedule = new M.Schedule(row);
      const read = M.headInputs(this, row, inputs, seen, schedule);
      const count = outs.length, mean = [];
      outs.forEach((out, m) => {
        M.curveCoefficients(this.heads[m], out.hidden, read).forEach((c, j) => {
          mean[j] = (mean[j] || 0) + c / count;
        });
      });
      const end = outs.reduce((sum, out) => sum + out.loss, 0) / count;
      return shares.map((share) =>
        schedule.functions(share).reduce((sum, phi, j) => sum + phi * mean[j], end));
    }

    /** Return the loss of the law of size and data alone. */
    baseline(n, d) {
      const b = this.baselineLaw;
      return b.a * (n / 1e6) ** -b.alpha + b.b * (d / 1e9) ** -b.beta + b.c;
    }
  }

  /** Return the fits of the bundle, ready to predict; made once. */
  function fitsOf(model) {
    if (!model.ready) {
      const buffer = bytesOf(model.arrays);
      model.ready = model.fits.map((entry) => {
        const { baseline, ...rest } = entry;
        return new Fit({ ...rest, baselineLaw: baseline }, model, buffer);
      });
    }
    return model.ready;
  }
  Object.assign(M, { Fit, fitsOf });
})();
