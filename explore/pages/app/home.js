// The first page: sources and families, and what varies in each.
(function () {
  "use strict";
  const { el, count, words, address } = NCPL;

  const span = (pair, text) => (!pair ? "" : pair[0] === pair[1] ? text(pair[0]) :
    `${text(pair[0])} to ${text(pair[1])}`);

  function sources(told) {
    return NCPL.plainTable("Sources", ["source", "what", "runs", "with curve", "parameters", "tokens",
      "varies (values)", "licence"], told.sources.map((one) => [
      el("a", { href: address("runs", "", { source: one.name }) }, one.name),
      one.title || "", one.runs.toLocaleString("en-US"), one.with_curve.toLocaleString("en-US"),
      span(one.params, count), span(one.tokens, count),
      one.varies.map(([name, n]) => `${words(name)} (${n.toLocaleString("en-US")})`).join(", "),
      one.licence || "not stated",
    ]), [2, 3, 4, 5]);
  }

  function families(told) {
    return NCPL.plainTable("Families of comparable losses", ["family", "runs", "usable", "sizes",
      "parameters", "tokens", "final loss", "varies"], told.families.map((one) => [
      el("a", { href: address("runs", "", { family: one.family }) }, one.family.replaceAll("|", " | ")),
      one.runs.toLocaleString("en-US"), one.usable.toLocaleString("en-US"), one.sizes,
      span(one.min_params === null ? null : [one.min_params, one.max_params], count),
      span(one.min_tokens === null ? null : [one.min_tokens, one.max_tokens], count),
      span([one.min_loss, one.max_loss], (v) => v.toFixed(3)), one.varies.map(words).join(", "),
    ]), [1, 2, 3, 4, 5, 6]);
  }

  NCPL.pages[""] = {
    title: "Sources and families",
    async show(main) {
      const told = await NCPL.load("summary");
      const n = (value) => value.toLocaleString("en-US");
      main.append(
        el("h1", {}, "Sources and families"),
        el("p", {}, `${n(told.n_runs)} published pretraining runs of ${told.sources.length} sources; ` +
          `${n(told.n_curves)} with a loss curve (${n(told.n_points)} points)` +
          (told.has_model ? `, ${n(told.n_predicted)} with a prediction of the bundle.` : ".")),
        el("p", {}, "Losses compare only inside a family: one publisher or public set, metric, data, ",
          "tokenizer and unit."),
        el("h2", {}, "Sources"), sources(told), el("h2", {}, "Families"), families(told));
    },
  };
})();
