// The response surface, as ncpl/model/response_surface.py: a law of size and data under a bowl.
(function () {
  "use strict";
  const POWERS = [];
  for (let i = 0; i < 5; i++) {
    for (let j = 0; j < 5; j++) if (i + j >= 2 && i + j <= 4) POWERS.push([i, j]);
  }
  const OFFSET_SCALE = [0.02, 0.3, 0.3], REACH = 3, MARGIN = 0.5, SINK = 0.02;
  const SIZE = 0, DATA = 1, RATE = 2, BATCH = 3, RATIO = 4, PLACE = 5;
  const orZero = (value) => (Number.isNaN(value) ? 0 : value);

  class Surface {
    constructor(arrays) {
      Object.assign(this, arrays);
      this.nOptimizers = this.offsets.length / 3;
    }

    level(n, d) {
      const [model, alpha, data, beta, c, gamma] = this.base;
      return Math.exp(model - Math.exp(alpha) * n) +
        Math.exp(data - Math.exp(beta) * d + gamma * n) + c;
    }

    /** Return the local coefficients at a run's size and data: level, height, u, v, powers. */
    coefficients(law) {
      const excess = Math.max(Math.min(orZero(law[RATIO]), this.ffn_range[1]), this.ffn_range[0]);
      const n = law[SIZE] - Math.exp(this.base[6]) * Math.max(excess, 0) ** 2, d = law[DATA];
      const place = Number.isNaN(law[PLACE]) ? -1 : law[PLACE];
      const offset = (i) => (place < 0 ? 0 : this.offsets[3 * place + i] * OFFSET_SCALE[i]);
      const row = (i) => this.affine[3 * i] + this.affine[3 * i + 1] * n + this.affine[3 * i + 2] * d;
      const found = new Float64Array(4 + POWERS.length);
      found.set([this.level(n, d) + offset(0), row(0) + offset(1), row(1) + offset(2), row(2)]);
      found.set(this.powers, 4);
      return found;
    }

    distances(coefficients, law) {
      return [orZero(law[RATE] - coefficients[2]), orZero(law[BATCH] - coefficients[3])];
    }

    /** Return the loss, nats per token. */
    value(coefficients, law) {
      const away = this.distances(coefficients, law);
      const powers = away.map((far, i) => {
        const seen = Math.min(Math.max(far, this.nearest[i]), this.farthest[i]);
        const past = MARGIN * Math.tanh((far - seen) / MARGIN);
        const bent = REACH * Math.tanh((seen + past) / REACH);
        return [1, bent, bent ** 2, bent ** 3, bent ** 4];
      });
      let bowl = 0;
      POWERS.forEach(([i, j], k) => {
        bowl += coefficients[4 + k] * powers[0][i] * powers[1][j];
      });
      if (bowl <= 0) bowl = SINK * Math.expm1(bowl / SINK);
      return coefficients[0] + Math.exp(coefficients[1]) * bowl;
    }
  }
  Object.assign(NCPL.model, { Surface, COLUMNS: { SIZE, DATA, RATE, BATCH, RATIO, PLACE } });
})();
