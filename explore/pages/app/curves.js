// Curves of many runs over each other, coloured by a field.
(function () {
  "use strict";
  const { el, add, keep, words } = NCPL;
  const { Chart, colours, legend } = NCPL.charts;
  const MOST = 120, FEWEST = 20;
  const AXES = [["share", "share of the run"], ["tokens", "tokens"], ["step", "step"]];

  /** Return the source with the fewest runs that has curves enough to compare. */
  function usualSource(told) {
    const fit = told.sources.filter((one) => one.with_curve >= FEWEST);
    fit.sort((a, b) => a.runs - b.runs);
    return fit.length ? fit[0].name : "";
  }

  function picked(places, most) {
    if (places.length <= most) return places;
    return Array.from({ length: most }, (_, k) =>
      places[Math.round((k * (places.length - 1)) / (most - 1))]);
  }

  function lineOf(runs, place, detail, axis) {
    const own = detail.values.final_loss_metric;
    const curve = detail.curves.find((one) => one.metric === own) || detail.curves[0];
    if (!curve) return null;
    const last = detail.values.train_steps || curve.x[curve.x.length - 1];
    const tokens = runs.get("tokens", place);
    if (axis === "tokens" && !tokens) return null;
    const unit = axis === "step" ? 1 : (axis === "tokens" ? tokens : 1) / last;
    return { x: curve.x.map((step) => step * unit), y: curve.y, metric: curve.metric };
  }

  NCPL.pages.curves = {
    title: "Curves",
    async show(main, { params }) {
      const runs = await NCPL.runs(), told = await NCPL.load("summary");
      const state = NCPL.filterState(params);
      if (!params.size) state.source = usualSource(told);
      const first = NCPL.filtered(runs, state), differ = (name) => new Set(first.map((i) => runs.get(name, i))).size > 1;
      state.colour = params.get("colour") || ["learning_rate", "params_non_embedding", "tokens", "source"].find(differ) || "source";
      state.axis = params.get("axis") || "share";
      const fields = Object.keys(runs.columns).filter((name) => !["rest", "points", "low", "high"].includes(name));
      const note = el("p", { role: "status", class: "note" }), key = el("div", {}), box = el("div", {});
      const list = el("div", {});
      let chart = null, turn = 0;
      async function draw() {
        const own = (turn += 1);
        keep("curves", "", state);
        const all = NCPL.filtered(runs, state).filter((i) => runs.get("points", i));
        const places = picked(all, MOST);
        note.textContent = `Loading ${places.length} curves.`;
        const details = await Promise.all(places.map((i) => NCPL.detail(i)));
        if (own !== turn) return;
        const values = places.map((i) => runs.get(state.colour, i));
        const scale = colours(values, runs.isNumber(state.colour), state.colour);
        const lines = [], later = [];
        places.forEach((i, k) => {
          const line = lineOf(runs, i, details[k], state.axis);
          if (!line) return;
          const value = runs.get(state.colour, i);
          lines.push({ ...line, colour: scale.of(value), width: 1.3, alpha: 0.8, href: NCPL.address("run", runs.id(i)),
            label: `${runs.id(i)}\n${words(state.colour)}: ${NCPL.shown(state.colour, value) || "not stated"}` });
          later.push(...line.y.slice(Math.floor(line.y.length / 12)).filter(Number.isFinite));
        });
        later.sort((a, b) => a - b);
        const high = later[Math.floor(later.length * 0.985)], low = later[0];
        if (chart) chart.destroy();
        box.replaceChildren();
        chart = new Chart(box, { x: { label: Object.fromEntries(AXES)[state.axis],
          text: state.axis === "share" ? undefined : NCPL.count }, y: { label: "loss" }, height: 460,
          told: `${lines.length} loss curves coloured by ${words(state.colour)}; the runs are listed below` });
        chart.draw([{ lines }], lines.length ? { y: [low - (high - low) * 0.04, high] } : null);
        key.replaceChildren(el("p", { class: "note" }, words(state.colour)), legend(scale.key));
        const metrics = new Set(lines.map((line) => line.metric));
        note.textContent = `${lines.length} of ${all.length.toLocaleString("en-US")} runs with a curve` +
          (all.length > MOST ? `, evenly picked` : "") + "; drag to zoom, double-click to go back, click a curve " +
          "to open its run." + (metrics.size > 1 ? ` ${metrics.size} metrics: they do not compare.` : "");
        list.replaceChildren(el("details", {}, el("summary", {}, "The runs drawn"), el("ul", {},
          places.map((i) => el("li", {}, NCPL.runLink(runs.id(i)), ` ${NCPL.shown(state.colour, runs.get(state.colour, i))}`)))));
      }
      const { changed, set, stop } = NCPL.redrawn(state, draw, 150);
      add(main, el("h1", {}, "Curves"), el("div", { class: "controls" },
        NCPL.choice("coloured by", fields.map((name) => [name, words(name)]), state.colour, set("colour")),
        NCPL.choice("along", AXES, state.axis, set("axis"))),
      el("details", { class: "filters" }, el("summary", {}, "Which runs"),
        el("div", { class: "controls" }, NCPL.filterControls(runs, state, changed))), note, box, key, list);
      await draw();
      return () => {
        stop();
        turn += 1;
        if (chart) chart.destroy();
      };
    },
  };
})();
