// A table of any length: only the rows in view are elements.
(function () {
  "use strict";
  const { el } = NCPL;
  const ROW = 32, MORE = 8;

  /** Columns are { name, label, width, isNumber, cell(i): element or text }. */
  class VirtualTable {
    constructor(parent, columns, { label, onSort }) {
      this.columns = columns;
      this.places = [];
      this.onSort = onSort;
      const template = columns.map((c) => c.width).join(" ");
      this.head = el("div", { role: "row", class: "vrow vhead" }, columns.map((c) => this.header(c)));
      this.head.style.gridTemplateColumns = template;
      this.template = template;
      this.body = el("div", { role: "rowgroup", class: "vbody" });
      this.grid = el("div", { role: "table", "aria-label": label, class: "vgrid" },
        el("div", { role: "rowgroup", class: "vtop" }, this.head), this.body);
      this.scroller = el("div", { class: "vscroll", tabindex: "0", role: "region",
        "aria-label": `${label}, scrolls`, onscroll: () => this.refresh() }, this.grid);
      parent.append(this.scroller);
      this.watch = new ResizeObserver(() => this.refresh());
      this.watch.observe(this.scroller);
    }

    header(column) {
      const button = el("button", { type: "button", onclick: () => this.onSort(column.name) },
        column.label);
      return el("div", { role: "columnheader", class: column.isNumber ? "number" : null }, button);
    }

    /** Show rows by place, and mark the column they are sorted by. */
    show(places, sort, isDown) {
      this.places = places;
      this.grid.setAttribute("aria-rowcount", places.length + 1);
      this.body.style.height = `${places.length * ROW}px`;
      this.columns.forEach((column, i) => {
        const own = column.name === sort;
        const cell = this.head.children[i];
        cell.setAttribute("aria-sort", own ? (isDown ? "descending" : "ascending") : "none");
        cell.firstChild.dataset.sorted = own ? (isDown ? "down" : "up") : "";
      });
      this.scroller.scrollTop = 0;
      this.drawn = null;
      this.refresh();
    }

    refresh() {
      const first = Math.max(Math.floor(this.scroller.scrollTop / ROW) - MORE, 0);
      const count = Math.ceil(this.scroller.clientHeight / ROW) + 2 * MORE;
      const last = Math.min(first + count, this.places.length);
      if (this.drawn === `${first}-${last}`) return;
      this.drawn = `${first}-${last}`;
      const rows = [];
      for (let at = first; at < last; at++) {
        const i = this.places[at];
        const row = el("div", { role: "row", class: "vrow", "aria-rowindex": at + 2 },
          this.columns.map((c) => el("div", { role: "cell", class: c.isNumber ? "number" : null },
            c.cell(i))));
        row.style.gridTemplateColumns = this.template;
        row.style.top = `${at * ROW}px`;
        rows.push(row);
      }
      this.body.replaceChildren(...rows);
    }

    destroy() {
      this.watch.disconnect();
    }
  }

  /** Return a plain table: heads and rows of elements or text; numbers are columns by place. */
  NCPL.plainTable = function (caption, heads, rows, numbers) {
    const isNumber = (j) => ((numbers || []).includes(j) ? "number" : null);
    const table = el("table", {}, el("caption", {}, caption),
      el("thead", {}, el("tr", {}, heads.map((text, j) =>
        el("th", { scope: "col", class: isNumber(j) }, text)))),
      el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, j) =>
        (j ? el("td", { class: isNumber(j) || (String(cell).length > 60 ? "wide" : null) }, cell) : el("th", { scope: "row" }, cell)))))));
    return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
  };
  NCPL.VirtualTable = VirtualTable;
})();
