// Contours of learning rate and batch at one size and token count, with the measured runs.
// The page computes the grid itself, a few milliseconds at a time.
(function () {
  "use strict";
  const { el, add, keep, count, short, loss, runLink } = NCPL;
  const { Chart, ramp, legend } = NCPL.charts;
  const M = NCPL.model;
  const WIDE = 25, HIGH = 19, MIN_RUNS = 8, STEP = 0.005, LEVELS = 7, BUSY_MS = 12;

  /** Return groups of runs of one source, optimizer, size and tokens with enough settings. */
  function groupsOf(runs, fits) {
    const found = new Map();
    for (let i = 0; i < runs.n; i++) {
      if (runs.get("predicted", i) === null || runs.get("final_loss", i) === null) continue;
      const [source, optimizer, N, D, rate, batch] = ["source", "optimizer", "params_non_embedding", "tokens",
        "learning_rate", "batch_size_sequences"].map((name) => runs.get(name, i));
      const fit = fits.find((one) => one.family[0] === source);
      if (!fit || !fit.bases[optimizer || ""] || !rate || !batch) continue;
      const key = [source, optimizer || "", N, D].join("/");
      if (!found.has(key)) found.set(key, { key, fit, optimizer: optimizer || "", N, D, runs: [] });
      found.get(key).runs.push({ i, rate, batch, loss: runs.get("final_loss", i) });
    }
    return [...found.values()].filter((group) => group.runs.length >= MIN_RUNS &&
      new Set(group.runs.map((r) => r.batch)).size > 1 && new Set(group.runs.map((r) => r.rate)).size > 1)
      .sort((a, b) => b.runs.length - a.runs.length);
  }

  const spread = (low, high, n) => Array.from({ length: n }, (_, i) => low * (high / low) ** (i / (n - 1)));
  const span = (values) => [Math.min(...values) / 1.3, Math.max(...values) * 1.3];

  /** Fill grid.loss point by point; returns whether it was done before `isOver` said to stop. */
  async function compute(group, grid, isOver) {
    let since = performance.now();
    for (let a = 0; a < WIDE; a++) {
      for (let b = 0; b < HIGH; b++) {
        const config = M.configOf(group.fit, group.optimizer,
          { N: group.N, D: group.D, rate: grid.rates[a], batch: grid.batches[b] });
        grid.loss[a * HIGH + b] = group.fit.predict(config).loss;
        if (performance.now() - since > BUSY_MS) {
          await new Promise((resolve) => setTimeout(resolve, 0));
          if (isOver()) return false;
          since = performance.now();
        }
      }
    }
    return true;
  }

  const level = (above) => Math.log2(Math.max(above, 0) / STEP + 1);
  const colourOf = (above) => ramp(1 - Math.min(level(above) / LEVELS, 1));

  function paintFill(grid, base) {
    return (canvas, at) => {
      for (let a = 0; a < WIDE - 1; a++) {
        for (let b = 0; b < HIGH - 1; b++) {
          const corners = [0, 1].flatMap((i) => [0, 1].map((j) => grid.loss[(a + i) * HIGH + b + j]));
          canvas.fillStyle = colourOf(corners.reduce((x, y) => x + y, 0) / 4 - base);
          const x0 = at.x(grid.rates[a]), x1 = at.x(grid.rates[a + 1]);
          const y0 = at.y(grid.batches[b]), y1 = at.y(grid.batches[b + 1]);
          canvas.fillRect(x0 - 0.5, y1 - 0.5, x1 - x0 + 1, y0 - y1 + 1);
        }
      }
    };
  }

  /** Draw lines of equal loss: marching squares, straight between grid points. */
  function paintLines(grid, base) {
    return (canvas, at, ratio) => {
      canvas.strokeStyle = "rgba(0,0,0,0.55)";
      canvas.lineWidth = ratio;
      canvas.beginPath();
      for (let k = 0; k < LEVELS; k++) {
        const wanted = base + STEP * 2 ** k;
        for (let a = 0; a < WIDE - 1; a++) {
          for (let b = 0; b < HIGH - 1; b++) {
            const ring = [[a, b], [a + 1, b], [a + 1, b + 1], [a, b + 1]];
            const cuts = [];
            ring.forEach(([i, j], n) => {
              const [p, q] = ring[(n + 1) % 4];
              const from = grid.loss[i * HIGH + j] - wanted, to = grid.loss[p * HIGH + q] - wanted;
              if (from < 0 === to < 0) return;
              const share = from / (from - to), mix = (u, v) => u + share * (v - u);
              cuts.push([mix(at.x(grid.rates[i]), at.x(grid.rates[p])), mix(at.y(grid.batches[j]), at.y(grid.batches[q]))]);
            });
            for (let n = 0; n + 1 < cuts.length; n += 2) {
              canvas.moveTo(...cuts[n]);
              canvas.lineTo(...cuts[n + 1]);
            }
          }
        }
      }
      canvas.stroke();
    };
  }

  NCPL.pages.contours = {
    title: "Contours",
    async show(main, { params }) {
      const runs = await NCPL.runs(), told = await NCPL.load("summary");
      main.append(el("h1", {}, "Contours of learning rate and batch"));
      const fits = told.has_model ? M.fitsOf(await NCPL.load("model")) : [];
      const groups = groupsOf(runs, fits);
      if (!groups.length) {
        main.append(el("p", {}, "No size and token count here has runs enough over learning rate and batch that the bundle predicts."));
        return null;
      }
      const box = el("div", {}), note = el("p", { role: "status", class: "note" }), list = el("div", {});
      let turn = 0, chart = null;
      async function draw(group) {
        const own = (turn += 1);
        keep("contours", "", { group: group.key });
        const rates = spread(...span(group.runs.map((r) => r.rate)), WIDE);
        const batches = spread(...span(group.runs.map((r) => r.batch)), HIGH);
        const grid = { rates, batches, loss: new Float64Array(WIDE * HIGH) };
        note.textContent = "Predicting the grid.";
        if (!await compute(group, grid, () => own !== turn)) return;
        const at = grid.loss.indexOf(Math.min(...grid.loss));
        const best = { rate: rates[Math.floor(at / HIGH)], batch: batches[at % HIGH], loss: grid.loss[at] };
        const measured = [...group.runs].sort((a, b) => a.loss - b.loss);
        const base = Math.min(best.loss, measured[0].loss);
        const points = measured.map((r, k) => ({ x: r.rate, y: r.batch, colour: colourOf(r.loss - base), size: k ? 5 : 8,
          ring: "#000", href: NCPL.address("run", runs.id(r.i)),
          label: `${runs.id(r.i)}\nmeasured ${loss(r.loss)}, predicted ${loss(runs.get("predicted", r.i))}` }));
        points.push({ x: best.rate, y: best.batch, colour: "#d81b60", ring: "#fff", size: 7,
          label: `lowest predicted: ${loss(best.loss)}` });
        if (chart) chart.destroy();
        box.replaceChildren();
        chart = new Chart(box, { x: { label: "learning rate", log: true }, y: { label: "batch, sequences", log: true },
          height: 460, told: `Predicted loss over learning rate and batch: lowest ${loss(best.loss)} at ` +
          `${short(best.rate)} and ${Math.round(best.batch)}; the measured runs are listed below` });
        chart.draw([{ paint: paintFill(grid, base) }, { paint: paintLines(grid, base) }, { points }],
          { x: [rates[0], rates[WIDE - 1]], y: [batches[0], batches[HIGH - 1]] });
        const steps = [0, 1, 2, 3, 4, 5, 6, 7].map((k) => STEP * (2 ** k - 1));
        box.append(legend([...steps.map((above) => [colourOf(above), `+${above.toFixed(3)}`]), ["#d81b60", "lowest predicted"]]));
        note.textContent = `${group.runs.length} measured runs on the colours of the prediction, nats above ${loss(base)}; the ` +
          `largest is the best. Lowest predicted ${loss(best.loss)} at learning rate ${short(best.rate)}, batch ` +
          `${Math.round(best.batch)}; best measured ${loss(measured[0].loss)} at ${short(measured[0].rate)}, ${measured[0].batch}. ` +
          `Other settings are those of the training run the page Plan names.`;
        list.replaceChildren(NCPL.plainTable("Measured runs, best first", ["run", "learning rate", "batch", "measured", "predicted"],
          measured.slice(0, 60).map((r) => [runLink(runs.id(r.i)), short(r.rate), r.batch, loss(r.loss),
            loss(runs.get("predicted", r.i))]), [1, 2, 3, 4]));
      }
      const chosen = groups.find((group) => group.key === params.get("group")) || groups[0];
      add(main, NCPL.choice("size and tokens", groups.map((g) => [g.key,
        `${g.fit.family[0]} ${g.optimizer}: ${count(g.N)} on ${count(g.D)} (${g.runs.length} runs)`]), chosen.key, (key) => {
        draw(groups.find((group) => group.key === key));
      }), note, box, el("h2", {}, "Measured runs"), list);
      await draw(chosen);
      return () => {
        turn += 1;
        if (chart) chart.destroy();
      };
    },
  };
})();
