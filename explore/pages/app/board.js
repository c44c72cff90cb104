// The transfer board: what a few small runs of a new family tell of its larger ones.
(function () {
  "use strict";
  const { el, add, keep } = NCPL;
  const { Chart, category, legend } = NCPL.charts;
  const number = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "-");

  NCPL.pages.board = {
    title: "Transfer board",
    async show(main, { params }) {
      const told = await NCPL.load("summary");
      main.append(el("h1", {}, "Transfer board"), el("p", {}, "Error in nats of runs of at least four times the compute ",
        "of k small ones, for families that what is learned has not seen; mean over families, median in brackets."));
      if (!told.has_board) {
        main.append(el("p", {}, "This folder was written without a board. Make one and write the folder again:"),
          el("pre", { tabindex: "0" }, "ncpl bench transfer --snapshot latest --out board\n" +
            "ncpl-data explore --board board/transfer.json"));
        return null;
      }
      const board = await NCPL.load("board"), counts = [...new Set(board.rows.map((row) => row.k))].sort((a, b) => a - b);
      const methods = [...new Set(board.rows.map((row) => row.method))];
      const row = (method, k) => board.rows.find((one) => one.method === method && one.k === k);
      const least = (method) => Math.min(...board.rows.filter((one) => one.method === method && one.k > 0)
        .map((one) => (Number.isFinite(one.mae) ? one.mae : Infinity)));
      const best = methods.reduce((a, b) => (least(b) < least(a) ? b : a), methods[0]);
      const state = { method: methods.includes(params.get("method")) ? params.get("method") : best };
      const heads = counts.map((k) => `k = ${k}`), places = counts.map((_, i) => i + 1);
      const holder = el("div", {}), list = el("div", {});
      add(main, NCPL.plainTable("Methods by number of known runs", ["method", ...heads], methods.map((method) => [method,
        ...counts.map((k) => {
          const one = row(method, k);
          return one && Number.isFinite(one.mae) ? `${number(one.mae, 4)} (${number(one.median_mae, 4)})` : "-";
        })]), places), el("h2", {}, "Error by number of known runs"), holder);
      const chart = new Chart(holder, { x: { label: "known runs, k" }, y: { label: "mean error, nats" },
        told: "Mean error by number of known runs, a line a method; the numbers are in the table above" });
      const known = counts.filter((k) => k > 0);
      chart.draw([{ lines: methods.map((method, i) => ({ x: known, width: 2, colour: category(i), label: method,
        y: known.map((k) => (row(method, k) ? row(method, k).mae : null)) })), points: methods.flatMap((method, i) =>
        known.filter((k) => row(method, k) && Number.isFinite(row(method, k).mae)).map((k) => ({ x: k,
          y: row(method, k).mae, colour: category(i), label: `${method}: ${number(row(method, k).mae, 4)}` }))) }]);
      holder.append(legend(methods.map((method, i) => [category(i), method])));
      const draw = () => {
        keep("board", "", state);
        const own = board.families.filter((one) => one.method === state.method);
        const names = [...new Set(own.map((one) => one.family))].sort();
        list.replaceChildren(NCPL.plainTable("Error by family", ["family", "targets", ...heads], names.map((name) => {
          const cells = counts.map((k) => own.find((one) => one.family === name && one.k === k));
          const most = Math.max(...cells.map((one) => (one ? one.targets : 0)));
          return [name, Math.round(most), ...cells.map((one) => (!one ? "-" : number(one.mae, 3) +
            (Number.isFinite(one.coverage) ? `, ${Math.round(100 * one.coverage)}%` : "")))];
        }), [1, ...places.map((i) => i + 1)]));
      };
      add(main, el("h2", {}, "By family"), NCPL.choice("method", methods.map((m) => [m, m]), state.method, (method) => {
        state.method = method;
        draw();
      }), el("p", { class: "note" }, "Mean error, and the share of targets inside the 90% interval where there is one."), list,
      el("p", { class: "note" }, `Snapshot ${String(board.snapshot_id).slice(0, 12)}.`));
      draw();
      return () => chart.destroy();
    },
  };
})();
