// The transformers that correct the surface, as ncpl/model/network.py, one member at a time.
// What is read up to LAW depends on size, data and optimizer only, and is kept for the next call.
(function () {
  "use strict";
  const EPSILON = 1e-6, ROTARY_BASE = 10000;

  function times(matrix, x, out, rows, columns) {
    for (let i = 0; i < rows; i++) {
      let sum = 0;
      const at = i * columns;
      for (let j = 0; j < columns; j++) sum += matrix[at + j] * x[j];
      out[i] = sum;
    }
    return out;
  }

  function normed(x, weight, out) {
    let square = 0;
    for (let i = 0; i < x.length; i++) square += x[i] * x[i];
    const scale = 1 / Math.sqrt(square / x.length + EPSILON);
    for (let i = 0; i < x.length; i++) out[i] = x[i] * scale * weight[i];
    return out;
  }

  class Member {
    constructor(weights, fit) {
      this.w = weights;
      this.width = fit.width;
      this.nHeads = fit.n_heads;
      this.nContext = fit.encoder.context.length;
      this.nFields = fit.networkFields.length;
      const layer = (i, name) => weights[`backbone.layers.${i}.${name}.weight`];
      this.layers = [];
      for (let i = 0; i < fit.n_layers; i++) {
        this.layers.push({
          q: layer(i, "self_attn.q_proj"), k: layer(i, "self_attn.k_proj"),
          v: layer(i, "self_attn.v_proj"), o: layer(i, "self_attn.o_proj"),
          qNorm: layer(i, "self_attn.q_norm"), kNorm: layer(i, "self_attn.k_norm"),
          gate: layer(i, "mlp.gate_proj"), up: layer(i, "mlp.up_proj"),
          down: layer(i, "mlp.down_proj"),
          before: layer(i, "input_layernorm"), after: layer(i, "post_attention_layernorm"),
        });
      }
      this.rotary = this.rotations();
      this.scratch = {
        scaled: new Float64Array(this.width), gate: new Float64Array(2 * this.width),
        up: new Float64Array(2 * this.width), mixed: new Float64Array(this.width),
        out: new Float64Array(this.width),
      };
    }

    rotations() {
      const wide = this.width / this.nHeads, found = [];
      for (let t = 0; t < this.nFields + 3; t++) {
        const cos = new Float64Array(wide / 2), sin = new Float64Array(wide / 2);
        for (let i = 0; i < wide / 2; i++) {
          const angle = t * ROTARY_BASE ** (-(2 * i) / wide);
          cos[i] = Math.cos(angle);
          sin[i] = Math.sin(angle);
        }
        found.push([cos, sin]);
      }
      return found;
    }

    /** Return the token of a field: its value through a small layer, or its word, and its name. */
    field(j, seen, code) {
      const wide = this.width, names = this.w.names, found = new Float64Array(wide);
      if (code === 1) {
        const out = this.w["numbers.out"], slope = this.w["numbers.slope"];
        const shift = this.w["numbers.shift"];
        for (let a = 0; a < wide; a++) {
          const hidden = Math.tanh(seen * slope[j * wide + a] + shift[j * wide + a]);
          const at = (j * wide + a) * wide;
          for (let b = 0; b < wide; b++) found[b] += hidden * out[at + b];
        }
      } else {
        const words = this.w["backbone.embed_tokens.weight"];
        for (let b = 0; b < wide; b++) found[b] = words[code * wide + b];
      }
      for (let b = 0; b < wide; b++) found[b] += names[j * wide + b];
      return found;
    }

    reader(i) {
      return Float64Array.from(this.w.readers.subarray(i * this.width, (i + 1) * this.width));
    }

    rotate(x, norm, t) {
      const wide = this.width / this.nHeads, half = wide / 2, [cos, sin] = this.rotary[t];
      for (let at = 0; at < this.width; at += wide) {
        if (norm) {
          const own = x.subarray(at, at + wide);
          normed(Float64Array.from(own), norm, own);
        }
        for (let i = 0; i < half; i++) {
          const a = x[at + i], b = x[at + half + i];
          x[at + i] = a * cos[i] - b * sin[i];
          x[at + half + i] = b * cos[i] + a * sin[i];
        }
      }
    }

    /** Run tokens through layer i; keys and values are added to `known`. Only `asked` come back. */
    layer(i, tokens, known, asked) {
      const w = this.layers[i], wide = this.width, s = this.scratch, first = known.keys.length;
      const queries = [];
      tokens.forEach((x, place) => {
        normed(x, w.before, s.scaled);
        const key = times(w.k, s.scaled, new Float64Array(wide), wide, wide);
        this.rotate(key, w.kNorm, first + place);
        known.keys.push(key);
        known.values.push(times(w.v, s.scaled, new Float64Array(wide), wide, wide));
        if (!asked(place)) return;
        const query = times(w.q, s.scaled, new Float64Array(wide), wide, wide);
        this.rotate(query, w.qNorm, first + place);
        queries.push([place, query]);
      });
      return queries.map(([place, query]) => {
        const mixed = this.attend(query, known, first + place + 1);
        const x = Float64Array.from(tokens[place]);
        times(w.o, mixed, s.out, wide, wide);
        for (let b = 0; b < wide; b++) x[b] += s.out[b];
        normed(x, w.after, s.scaled);
        times(w.gate, s.scaled, s.gate, 2 * wide, wide);
        times(w.up, s.scaled, s.up, 2 * wide, wide);
        for (let b = 0; b < 2 * wide; b++) {
          s.gate[b] *= (0.5 + 0.5 * Math.tanh(0.5 * s.gate[b])) * s.up[b];
        }
        times(w.down, s.gate, s.out, wide, 2 * wide);
        for (let b = 0; b < wide; b++) x[b] += s.out[b];
        return x;
      });
    }

    attend(query, known, count) {
      const wide = this.width / this.nHeads, mixed = this.scratch.mixed.fill(0);
      const scale = wide ** -0.5, score = new Float64Array(count);
      for (let at = 0; at < this.width; at += wide) {
        let most = -Infinity, total = 0;
        for (let t = 0; t < count; t++) {
          let sum = 0;
          for (let e = at; e < at + wide; e++) sum += query[e] * known.keys[t][e];
          score[t] = sum * scale;
          most = Math.max(most, score[t]);
        }
        for (let t = 0; t < count; t++) total += (score[t] = Math.exp(score[t] - most));
        for (let t = 0; t < count; t++) {
          const share = score[t] / total;
          for (let e = at; e < at + wide; e++) mixed[e] += share * known.values[t][e];
        }
      }
      return mixed;
    }

    head(name, x) {
      const weight = this.w[`${name}_head.weight`], bias = this.w[`${name}_head.bias`];
      const found = times(weight, x, new Float64Array(bias.length), bias.length, this.width);
      for (let i = 0; i < bias.length; i++) found[i] += bias[i];
      return found;
    }

    /** Return what is read up to LAW: its corrections, and each layer's keys and values. */
    prefix(seen, codes) {
      const key = [...seen.subarray(0, this.nContext), ...codes.subarray(0, this.nContext)].join();
      if (this.kept && this.kept.key === key) return this.kept;
      let tokens = [this.reader(0)];
      for (let j = 0; j < this.nContext; j++) tokens.push(this.field(j, seen[j], codes[j]));
      tokens.push(this.reader(1));
      const known = [];
      this.layers.forEach((_, i) => {
        const last = i === this.layers.length - 1, count = tokens.length;
        known.push({ keys: [], values: [] });
        tokens = this.layer(i, tokens, known[i], (place) => !last || place === count - 1);
      });
      const law = normed(tokens[0], this.w["backbone.norm.weight"], new Float64Array(this.width));
      this.kept = { key, known, correction: this.head("law", law) };
      return this.kept;
    }

    /** Return { correction, residual, logScale, hidden } for numbers as the network sees them. */
    read(seen, codes) {
      const { known, correction } = this.prefix(seen, codes);
      let tokens = [];
      for (let j = this.nContext; j < this.nFields; j++) {
        tokens.push(this.field(j, seen[j], codes[j]));
      }
      tokens.push(this.reader(2));
      this.layers.forEach((_, i) => {
        const own = { keys: known[i].keys.slice(), values: known[i].values.slice() };
        const last = i === this.layers.length - 1, count = tokens.length;
        tokens = this.layer(i, tokens, own, (place) => !last || place === count - 1);
      });
      const hidden = normed(tokens[0], this.w["backbone.norm.weight"],
        new Float64Array(this.width));
      return {
        correction, hidden,
        residual: this.head("loss", hidden)[0], logScale: this.head("scale", hidden)[0] - 5,
      };
    }
  }
  NCPL.model.Member = Member;
})();
