// Predicted against measured losses; a click opens the run.
(function () {
  "use strict";
  const { el, add, keep, words, loss, runLink } = NCPL;
  const { Chart, category, colours, legend } = NCPL.charts;
  const WORST = 20;

  NCPL.pages.predicted = {
    title: "Predicted against measured",
    async show(main, { params }) {
      const runs = await NCPL.runs(), state = NCPL.filterState(params);
      if (!runs.has("predicted")) {
        main.append(el("h1", {}, "Predicted against measured"), el("p", {}, "No run here has a prediction."));
        return null;
      }
      state.colour = params.get("colour") || (runs.has("split") ? "split" : "source");
      state.view = params.get("view") || "loss";
      const fields = Object.keys(runs.columns).filter((name) => !["rest", "points", "low", "high"].includes(name));
      const note = el("p", { role: "status" }), key = el("div", {}), box = el("div", {}), list = el("div", {});
      let chart = null;
      function draw() {
        keep("predicted", "", state);
        const all = NCPL.filtered(runs, state).filter((i) =>
          runs.get("predicted", i) !== null && runs.get("final_loss", i) !== null);
        const places = all.filter((i) => runs.get("status", i) !== "diverged");
        const at = (i) => [runs.get("final_loss", i), runs.get("predicted", i)];
        const scale = colours(places.map((i) => runs.get(state.colour, i)), runs.isNumber(state.colour), state.colour);
        const guesses = places.map((i) => at(i)[1]).sort((a, b) => a - b);
        const low = guesses[0] - 0.05, high = guesses[Math.floor((guesses.length - 1) * 0.999)] + 0.1;
        const isError = state.view === "error";
        const points = places.filter((i) => at(i)[0] <= high).map((i) => ({
          x: at(i)[0], y: isError ? at(i)[1] - at(i)[0] : at(i)[1], colour: scale.of(runs.get(state.colour, i)),
          size: 2.5, alpha: 0.75, href: NCPL.address("run", runs.id(i)),
          label: `${runs.id(i)}\nmeasured ${loss(at(i)[0])}, predicted ${loss(at(i)[1])}`,
        }));
        if (chart) chart.destroy();
        box.replaceChildren();
        chart = NCPL.predictedChart = new Chart(box, { x: { label: "measured, nats per token" },
          y: { label: isError ? "predicted less measured" : "predicted, nats per token" }, height: 480,
          told: "Predicted against measured losses; the largest misses are listed below" });
        const exact = { x: [low, high], y: isError ? [0, 0] : [low, high], colour: category(7), dash: [4, 4] };
        chart.draw([{ lines: places.length ? [exact] : [], points }]);
        key.replaceChildren(el("p", { class: "note" }, words(state.colour)), legend(scale.key));
        const errors = places.map((i) => Math.abs(at(i)[1] - at(i)[0])).sort((a, b) => a - b);
        const inside = places.filter((i) => at(i)[0] >= runs.get("low", i) && at(i)[0] <= runs.get("high", i)).length;
        const beyond = places.length - points.length;
        note.textContent = places.length ? `${places.length.toLocaleString("en-US")} runs: median error ` +
          `${loss(errors[Math.floor(errors.length / 2)])} nats, ${Math.round((100 * inside) / places.length)}% inside their ` +
          `90% interval. The bundle was trained on those of the split train.` +
          (beyond ? ` ${beyond} lie beyond the picture.` : "") +
          (all.length > places.length ? ` ${all.length - places.length} diverged and are left out.` : "") : "No run with a prediction is left.";
        const worst = [...places].sort((a, b) => Math.abs(at(b)[1] - at(b)[0]) - Math.abs(at(a)[1] - at(a)[0]))
          .slice(0, WORST);
        list.replaceChildren(NCPL.plainTable("Largest misses", ["run", "measured", "predicted", "90% interval", "split"],
          worst.map((i) => [runLink(runs.id(i)), loss(at(i)[0]), loss(at(i)[1]),
            `${loss(runs.get("low", i))} to ${loss(runs.get("high", i))}`, runs.get("split", i) || ""]), [1, 2, 3]));
      }
      const { changed, set, stop } = NCPL.redrawn(state, draw, 120);
      add(main, el("h1", {}, "Predicted against measured"), el("div", { class: "controls" },
        NCPL.choice("coloured by", fields.map((name) => [name, words(name)]), state.colour, set("colour")),
        NCPL.choice("shown", [["loss", "losses"], ["error", "errors"]], state.view, set("view"))),
      el("details", { class: "filters" }, el("summary", {}, "Which runs"),
        el("div", { class: "controls" }, NCPL.filterControls(runs, state, changed))),
      note, box, key, el("h2", {}, "Largest misses"), list);
      draw();
      return () => {
        stop();
        if (chart) chart.destroy();
      };
    },
  };
})();
