// The run table: filters, sorting, 20,000 rows.
(function () {
  "use strict";
  const { el, address, keep, words, shown } = NCPL;
  const NAMES = ["source", "family", "optimizer", "schedule", "status", "split"];
  const RANGES = ["params_non_embedding", "tokens", "learning_rate", "final_loss"];
  const COLUMNS = [["rest", "minmax(130px,3fr)"], ["final_loss", "92px"], ["predicted", "92px"],
    ["params_non_embedding", "92px"], ["tokens", "80px"], ["learning_rate", "92px"],
    ["batch_size_sequences", "76px"], ["optimizer", "100px"], ["schedule", "84px"], ["source", "112px"],
    ["status", "84px"], ["split", "60px"], ["points", "68px"]];
  const HEADS = { params_non_embedding: "params", batch_size_sequences: "batch", points: "points",
    learning_rate: "rate", final_loss: "loss" };

  /** Return the ends of a text such as 1e8..3e8, ..1B or 2e-3; null where it is none. */
  function ends(text) {
    const parts = text.trim().split("..");
    if (parts.length > 2) return null;
    const found = parts.map((part) => (part.trim() ? NCPL.parseCount(part) : undefined));
    if (found.includes(null)) return null;
    const [low, high] = parts.length === 1 ? [found[0], found[0]] : found;
    return [low === undefined ? -Infinity : low * (1 - 1e-6), high === undefined ? Infinity : high * (1 + 1e-6)];
  }

  /** Return the places of the runs that a state of filters keeps, in its order. */
  NCPL.filtered = function (runs, state) {
    const texts = (state.q || "").toLowerCase().split(/\s+/).filter(Boolean);
    const ranges = RANGES.filter((name) => state[name]).map((name) => [name, ends(state[name])])
      .filter(([, pair]) => pair);
    const names = NAMES.filter((name) => state[name]);
    const found = [];
    for (let i = 0; i < runs.n; i++) {
      if (names.some((name) => runs.get(name, i) !== state[name])) continue;
      if (ranges.some(([name, [low, high]]) => {
        const value = runs.get(name, i);
        return value === null || value < low || value > high;
      })) continue;
      if (texts.length) {
        const id = runs.id(i).toLowerCase();
        if (!texts.every((text) => id.includes(text))) continue;
      }
      found.push(i);
    }
    if (state.sort && runs.has(state.sort)) sortBy(runs, found, state.sort, state.down === "1");
    return found;
  };

  function sortBy(runs, places, name, isDown) {
    const keys = new Map(places.map((i) => [i, runs.get(name, i)]));
    const sign = isDown ? -1 : 1;
    places.sort((a, b) => {
      const x = keys.get(a), y = keys.get(b);
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return x < y ? -sign : x > y ? sign : a - b;
    });
  }

  /** Return the controls of the filters; `changed` is called with every change. */
  NCPL.filterControls = function (runs, state, changed) {
    const set = (name) => (value) => {
      state[name] = value;
      changed();
    };
    const names = NAMES.filter((name) => runs.texts(name).length).map((name) =>
      NCPL.choice(words(name), [["", "any"], ...runs.texts(name).map(([text, n]) =>
        [text, `${text.replaceAll("|", " | ")} (${n.toLocaleString("en-US")})`])], state[name] || "", set(name)));
    const ranges = RANGES.filter((name) => runs.has(name)).map((name) =>
      NCPL.field(words(name), state[name], set(name), { placeholder: "low..high" }));
    return [NCPL.field("run contains", state.q, set("q"), { type: "search" }), ...names, ...ranges];
  };

  NCPL.filterState = (params) => Object.fromEntries(
    ["q", "sort", "down", ...NAMES, ...RANGES].filter((name) => params.has(name))
      .map((name) => [name, params.get(name)]));

  NCPL.pages.runs = {
    title: "Runs",
    async show(main, { params }) {
      const runs = await NCPL.runs(), state = NCPL.filterState(params);
      const told = el("p", { class: "count", role: "status" }), box = el("div", {});
      const links = el("p", {});
      const columns = COLUMNS.filter(([name]) => runs.has(name)).map(([name, width]) => ({
        name, width, label: HEADS[name] || words(name), isNumber: runs.isNumber(name),
        cell: name === "rest" ? (i) => {
          const link = NCPL.runLink(runs.id(i), runs.get("rest", i));
          link.title = runs.id(i);
          return link;
        } :
          (i) => shown(name, runs.get(name, i)),
      }));
      const table = new NCPL.VirtualTable(box, columns, { label: "Runs", onSort: (name) => {
        state.down = state.sort === name && state.down !== "1" ? "1" : "";
        state.sort = name;
        refresh();
      } });
      function refresh() {
        const found = NCPL.filtered(runs, state);
        told.textContent = `${found.length.toLocaleString("en-US")} of ${runs.n.toLocaleString("en-US")} runs`;
        table.show(found, state.sort, state.down === "1");
        keep("runs", "", state);
        const more = { ...state, sort: "", down: "" };
        links.replaceChildren("These runs: ", ...[["curves", "their curves"],
          ["predicted", "predicted against measured"]].filter(([name]) => NCPL.pages[name])
          .flatMap(([name, text], i) => [i ? ", " : "", el("a", { href: address(name, "", more) }, text)]));
      }
      const { changed, stop } = NCPL.redrawn(state, refresh, 120);
      const controls = NCPL.filterControls(runs, state, changed);
      const filters = el("details", { class: "filters", open: innerWidth > 700 },
        el("summary", {}, "Filters"), el("div", { class: "controls" }, controls));
      main.append(el("h1", {}, "Runs"), filters, told, box, links);
      refresh();
      return () => {
        stop();
        table.destroy();
      };
    },
  };
})();
