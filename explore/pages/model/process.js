// The Gaussian process on what the surface leaves over, as ncpl/model/gaussian_process.py.
(function () {
  "use strict";
  const REACH = 4, WIDER = 1.5, FADE = 0.7, DRIFT = 0.3, ROOT5 = Math.sqrt(5);

  function matern(far) {
    const scaled = ROOT5 * far;
    return (1 + scaled + (scaled * scaled) / 3) * Math.exp(-scaled);
  }

  class Process {
    constructor(arrays) {
      Object.assign(this, arrays);
      this.nRuns = this.solved.length;
      this.nFeatures = 4 + this.columns.length;
      this.length = Float64Array.from(this.logs.subarray(0, this.nFeatures), Math.exp);
      [this.scale, this.own, this.slope, this.level1, this.cell] =
        Array.from(this.logs.subarray(this.nFeatures), Math.exp);
      this.hasOwn = this.place.some((place) => place !== this.place[0]);
      this.scaledX = this.x.map((value, i) => value / this.length[i % this.nFeatures]);
    }

    /** Return what the kernel compares of an encoded run. */
    features(inputs, surface) {
      const { numbers, codes, law } = inputs;
      const free = [law[0], law[1]];
      const sizes = free.map((at, i) => Math.min(Math.max(at, this.low[i]), this.high[i]));
      const away = surface.distances(surface.coefficients(law), law);
      const recipe = Array.from(this.columns, (column, i) => {
        const value = numbers[column] / this.spread[i];
        return codes[column] === 1 ? Math.min(Math.max(value, -REACH), REACH) : 0;
      });
      const place = Number.isNaN(law[5]) ? -1 : law[5];
      return { x: [...sizes, ...away, ...recipe], drift: sizes, place, sizes: free };
    }

    leftOver(asked) {
      const at = asked.x.map((value, i) => value / this.length[i]);
      const count = this.nFeatures, [d0, d1] = asked.drift;
      let sum = 0;
      for (let r = 0; r < this.nRuns; r++) {
        let square = 0;
        for (let i = 0, from = r * count; i < count; i++) {
          const gap = at[i] - this.scaledX[from + i];
          square += gap * gap;
        }
        const far = Math.sqrt(Math.max(square, 1e-12));
        const n = this.drift[2 * r], d = this.drift[2 * r + 1], drift = d0 * n + d1 * d;
        let one = this.scale ** 2 * matern(far) + DRIFT ** 2 * (drift + 1);
        if (this.hasOwn && asked.place >= 0 && asked.place === this.place[r]) {
          one += this.own ** 2 * matern(far / WIDER) + this.slope ** 2 * drift + this.level1 ** 2;
          if (asked.sizes[0] === n && asked.sizes[1] === d) one += this.cell ** 2;
        }
        sum += one * this.solved[r];
      }
      return sum;
    }

    /** Return what the surface leaves over, nats. */
    mean(inputs, surface) {
      const asked = this.features(inputs, surface);
      let left = this.leftOver(asked);
      if (!this.carries_level[0] && asked.sizes[0] > this.high[0]) {
        left -= this.leftOver({ ...asked, x: [...asked.drift, ...this.typical] });
      }
      return left * this.unit[0];
    }

    /** Return the share of what is said beside the surface that holds at a size. */
    kept(size) {
      const beyond = this.fades[0] ? Math.max(size - this.high[0], 0) : 0;
      return Math.exp(-beyond / FADE);
    }
  }
  NCPL.model.Process = Process;
})();
