// Data comes as scripts, since pages opened from disk may fetch nothing; each is loaded once.
(function () {
  "use strict";
  const waiting = new Map(), loaded = new Map();

  /** Called by a data file: its name, and its content as JSON text. */
  NCPL.receive = function (name, text) {
    const take = waiting.get(name);
    if (take) take(JSON.parse(text));
  };

  /** Return a promise of a piece of data: summary, runs, model, board, chunk/3. */
  NCPL.load = function (name) {
    if (!loaded.has(name)) {
      loaded.set(name, new Promise((resolve, reject) => {
        waiting.set(name, resolve);
        const script = document.createElement("script");
        script.src = `data/${name}.js`;
        script.onerror = () => {
          loaded.delete(name);
          reject(new Error(`data/${name}.js is missing; write the folder again: ncpl-data explore`));
        };
        script.onload = () => script.remove();
        document.head.append(script);
      }));
    }
    return loaded.get(name);
  };

  /** A packed table: numbers as they are, texts once each. */
  class Table {
    constructor(columns, n) {
      this.columns = columns;
      this.n = n;
    }

    has(name) {
      return name in this.columns;
    }

    /** Return a value; null where it is not stated. */
    get(name, i) {
      const column = this.columns[name];
      if (!column) return null;
      if (column.v) return column.v[i];
      return column.i[i] < 0 ? null : column.d[column.i[i]];
    }

    isNumber(name) {
      return Boolean(this.columns[name] && this.columns[name].v);
    }

    /** Return the texts of a column, the most frequent first, with their counts. */
    texts(name) {
      const column = this.columns[name];
      if (!column || !column.d) return [];
      const counts = new Array(column.d.length).fill(0);
      for (const code of column.i) if (code >= 0) counts[code] += 1;
      return column.d.map((text, i) => [text, counts[i]]).sort((a, b) => b[1] - a[1]);
    }
  }

  class Runs extends Table {
    /** Return the whole id of a run. */
    id(i) {
      const rest = this.get("rest", i);
      return rest.startsWith("/") ? rest.slice(1) : `${this.get("source", i)}/${rest}`;
    }

    /** Return a run's place by its id; -1 for one that is not here. */
    place(id) {
      if (!this.places) {
        this.places = new Map();
        for (let i = 0; i < this.n; i++) this.places.set(this.id(i), i);
      }
      return this.places.has(id) ? this.places.get(id) : -1;
    }
  }

  let runs = null;
  /** Return a promise of the run table. */
  NCPL.runs = async function () {
    const raw = await NCPL.load("runs");
    runs = runs || new Runs(raw.columns, raw.n);
    return runs;
  };

  /** Return a promise of one run's page: values, origins, curves, evaluations, nearest runs. */
  NCPL.detail = async function (place) {
    const { chunk } = await NCPL.load("summary");
    const raw = await NCPL.load(`chunk/${Math.floor(place / chunk)}`), at = place % chunk;
    const table = new Table(raw.columns, raw.curves.length);
    const values = {};
    for (const name of Object.keys(raw.columns)) {
      const value = table.get(name, at);
      if (value !== null) values[name] = value;
    }
    const origins = new Table({ origins: raw.origins }, table.n).get("origins", at);
    return {
      values,
      origins: origins ? JSON.parse(origins) : {},
      curves: raw.curves[at].map(([metric, steps, y, points]) => (
        { metric: raw.texts[metric], x: raw.steps[steps], y, points })),
      evals: raw.evals[at].map(([task, kind, step, shots, value]) => (
        { task: raw.texts[task], kind: raw.texts[kind], step, shots, value })),
      near: raw.near[at],
      predicted: raw.predicted[at],
    };
  };
})();
