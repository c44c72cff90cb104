// One run: configuration with origins, curves, prediction, nearest runs.
(function () {
  "use strict";
  const { el, add, words, shown, loss, runLink } = NCPL;
  const { Chart, category, legend } = NCPL.charts;
  const FIRST = ["run_id", "source", "status", "final_loss", "final_loss_metric", "final_loss_unit"];
  const NEAR_BY = ["params_non_embedding", "tokens", "learning_rate", "batch_size_sequences"];

  function originText(origin) {
    if (!origin) return "";
    if (typeof origin !== "object") return String(origin);
    const more = [];
    if (origin.was !== undefined && origin.was !== null) more.push(`was ${origin.was}`);
    for (const key of ["rule", "evidence"]) if (origin[key]) more.push(String(origin[key]));
    return more.length ? `${origin.kind}: ${more.join("; ")}` : String(origin.kind);
  }

  function valueCell(name, value) {
    if (name === "same_as" || name === "parent_run_id") {
      let ids = [value];
      try {
        ids = name === "same_as" ? JSON.parse(value) : ids;
      } catch {
        return String(value);
      }
      return el("span", {}, [].concat(ids).flatMap((id, i) => [i ? ", " : "", runLink(String(id))]));
    }
    return typeof value === "number" ? NCPL.exact(value) : String(value);
  }

  function configuration(detail) {
    const names = Object.keys(detail.values);
    names.sort((a, b) => (FIRST.includes(b) - FIRST.includes(a)));
    return NCPL.plainTable("Values and where each comes from", ["field", "value", "origin"],
      names.map((name) => [name, valueCell(name, detail.values[name]), originText(detail.origins[name])]));
  }

  function curvePanel(detail, prediction, shares) {
    const box = el("section", {}, el("h2", {}, "Curves"));
    if (!detail.curves.length) {
      box.append(el("p", {}, "The catalog has no curve of this run."));
      return [box, null];
    }
    const own = detail.values.final_loss_metric;
    const ordered = [...detail.curves].sort((a, b) => (b.metric === own) - (a.metric === own));
    const state = { metric: ordered[0].metric };
    const told = el("p", { class: "note" }), holder = el("div", {});
    const chart = new Chart(holder, { x: { label: "step", text: NCPL.count }, y: { label: "value" },
      told: "Curve of the run" });
    const draw = () => {
      const curve = detail.curves.find((one) => one.metric === state.metric);
      // Losses fall from over ten in the first steps; the rest would be a line along the bottom.
      const later = curve.y.slice(Math.floor(curve.y.length / 20)).filter(Number.isFinite);
      const low = Math.min(...later), high = Math.max(...later), room = (high - low || 1) * 0.06;
      const isOwn = curve.metric === own && prediction, last = curve.x[curve.x.length - 1];
      const steps = detail.values.train_steps || last;
      const whole = isOwn && detail.predicted.length ? [{ x: shares.map((share) => share * steps),
        y: detail.predicted, colour: category(1), width: 1.5, dash: [6, 4] }] : [];
      const points = isOwn ? [{ x: last, y: prediction.loss, colour: category(1), size: 5, label: `predicted ${loss(prediction.loss)}` }] : [];
      const lowest = Math.min(low, ...points.map((p) => p.y)) - room;
      const top = Math.max(high, ...points.map((p) => p.y));
      chart.draw([{ lines: [{ x: curve.x, y: curve.y, colour: category(0), width: 2 }, ...whole], points }],
        { y: [lowest, top + Math.max(room, 0.06 * (top - lowest))] });
      chart.tell(`${curve.metric}: from ${NCPL.short(curve.y[0])} at step ${curve.x[0]} to ` +
        `${NCPL.short(curve.y[curve.y.length - 1])} at step ${curve.x[curve.x.length - 1]}`);
      told.textContent = `${curve.points.toLocaleString("en-US")} points in the catalog` +
        (curve.points > curve.x.length ? `, ${curve.x.length} of them drawn.` : ".");
    };
    if (detail.curves.length > 1) {
      box.append(NCPL.choice("metric", ordered.map((c) => [c.metric, c.metric]), state.metric, (metric) => {
        state.metric = metric;
        draw();
      }));
    }
    box.append(holder, told);
    if (prediction && ordered[0].metric === own) {
      box.append(legend([[category(0), "measured"], [category(1), "predicted by the bundle before the run"]]));
    }
    return [box, { draw, chart }];
  }

  /** Return the runs of the same family most alike in size, tokens, learning rate and batch. */
  function alike(runs, place) {
    const family = runs.get("family", place), found = [];
    const at = (i) => NEAR_BY.map((name) => runs.get(name, i));
    const own = at(place);
    if (family === null || own[0] === null) return [];
    for (let i = 0; i < runs.n; i++) {
      if (i === place || runs.get("family", i) !== family) continue;
      const gaps = at(i).map((value, k) => (value > 0 && own[k] > 0 ? Math.log(value / own[k]) :
        value === own[k] ? 0 : 2));
      found.push([i, Math.hypot(...gaps)]);
    }
    return found.sort((a, b) => a[1] - b[1]).slice(0, 5);
  }

  function nearest(runs, place, detail) {
    const told = detail.near.map(([id, far]) => [runs.place(id), far, id]);
    const own = told.length ? told.slice(0, 5) : alike(runs, place).map(([i, far]) => [i, far, runs.id(i)]);
    if (!own.length) return el("p", {}, "No run of its family is known.");
    const cell = (name, i) => (i < 0 ? "" : shown(name, runs.get(name, i)));
    const text = told.length ? "Training runs most like it, by the bundle (distance in its length scales)" :
      "Runs of its family most like it, by size, tokens, learning rate and batch (distance in logs)";
    return NCPL.plainTable(text, ["run", "distance", "final loss", "parameters", "tokens", "learning rate",
      "batch", "optimizer"], own.map(([i, far, id]) => [i < 0 ? id : runLink(id), far.toFixed(2),
      ...["final_loss", "params_non_embedding", "tokens", "learning_rate", "batch_size_sequences",
        "optimizer"].map((name) => cell(name, i))]), [1, 2, 3, 4, 5, 6]);
  }

  function headline(runs, place, prediction) {
    const items = [["final loss", loss(runs.get("final_loss", place)) || "not stated"]];
    if (prediction) {
      items.push(["predicted", loss(prediction.loss)],
        ["90% interval", `${loss(prediction.low)} to ${loss(prediction.high)}`]);
    }
    for (const name of ["params_non_embedding", "tokens", "learning_rate", "optimizer", "split"]) {
      if (runs.get(name, place) !== null) items.push([words(name), shown(name, runs.get(name, place))]);
    }
    return el("dl", { class: "facts" }, items.map(([name, value]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  }

  NCPL.pages.run = {
    title: "Run",
    async show(main, { rest }) {
      const runs = await NCPL.runs(), place = runs.place(rest);
      if (place < 0) {
        main.append(el("h1", {}, "Run"), el("p", { role: "alert" }, `There is no run "${rest}" here. `,
          el("a", { href: "#/runs" }, "All runs")));
        return null;
      }
      const detail = await NCPL.detail(place), told = await NCPL.load("summary");
      const predicted = runs.get("predicted", place);
      const prediction = predicted === null ? null :
        { loss: predicted, low: runs.get("low", place), high: runs.get("high", place) };
      const [panel, drawn] = curvePanel(detail, prediction, told.shares);
      document.title = `${rest} - NCPL explorer`;
      add(main, el("h1", { class: "id" }, rest), headline(runs, place, prediction),
        prediction ? null : el("p", { class: "note" },
          "The bundle makes no prediction of this run: its losses are of another family, or the bundle " +
          "refuses its configuration."),
        panel, el("h2", {}, "Nearest runs"), nearest(runs, place, detail));
      if (detail.evals.length) {
        main.append(el("h2", {}, "Evaluations"), NCPL.plainTable("Evaluations", ["task", "kind", "step",
          "shots", "value"], detail.evals.map((e) => [e.task, e.kind, e.step === null ? "end" :
          NCPL.short(e.step), e.shots === null ? "" : e.shots, NCPL.short(e.value)]), [2, 3, 4]));
      }
      main.append(el("h2", {}, "Configuration"), configuration(detail));
      if (drawn) drawn.draw();
      return () => drawn && drawn.chart.destroy();
    },
  };
})();
