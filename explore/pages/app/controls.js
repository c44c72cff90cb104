// Inputs with labels: a choice, a text, a number on a logarithmic slider.
(function () {
  "use strict";
  const { el } = NCPL;
  let used = 0;
  const fresh = () => `control-${(used += 1)}`;

  /** Return a labelled list of choices: pairs of value and text. */
  NCPL.choice = function (label, choices, value, onChange) {
    const id = fresh();
    const select = el("select", { id, onchange: () => onChange(select.value) },
      choices.map(([v, text]) => el("option", { value: v, selected: v === value }, text)));
    return el("div", { class: "control" }, el("label", { for: id }, label), select);
  };

  /** Return a labelled text field; onChange is called while one types. */
  NCPL.field = function (label, value, onChange, more) {
    const id = fresh();
    const input = el("input", { id, type: "text", autocomplete: "off", spellcheck: "false",
      value: value || "", oninput: () => onChange(input.value), ...more });
    return el("div", { class: "control" }, el("label", { for: id }, label), input);
  };

  /** Return a slider on a logarithmic scale with a field beside it; `set` moves both. */
  NCPL.slider = function (label, { low, high, value, text, whole }, onChange) {
    const id = fresh(), step = 0.002;
    const at = (v) => String(Math.log10(v));
    const clean = (v) => (whole ? Math.max(Math.round(v), 1) : Number(v.toPrecision(4)));
    const tell = (v) => slider.setAttribute("aria-valuetext", text(v));
    const slider = el("input", { id, type: "range", min: at(low), max: at(high), step,
      oninput: () => {
        const found = clean(10 ** Number(slider.value));
        field.value = text(found);
        tell(found);
        onChange(found);
      } });
    slider.value = at(value);
    const field = el("input", { type: "text", class: "number", "aria-label": `${label}, as a number`,
      inputmode: "decimal", value: text(value), onchange: () => {
        const found = NCPL.parseCount(field.value);
        if (found === null) {
          field.setAttribute("aria-invalid", "true");
          return;
        }
        field.removeAttribute("aria-invalid");
        slider.value = at(found);
        tell(found);
        onChange(whole ? Math.max(Math.round(found), 1) : found);
      } });
    tell(value);
    return el("div", { class: "control slider" },
      el("label", { for: id }, label), el("div", { class: "pair" }, slider, field));
  };

  /** Return `changed`, which calls draw once changes rest for ms, `set(name)`, which changes a
   *  field of the state, and `stop`. */
  NCPL.redrawn = function (state, draw, ms) {
    let waiting = 0;
    const stop = () => clearTimeout(waiting);
    const changed = () => {
      stop();
      waiting = setTimeout(draw, ms);
    };
    const set = (name) => (value) => {
      state[name] = value;
      changed();
    };
    return { changed, set, stop };
  };

  const SUFFIX = { k: 1e3, m: 1e6, b: 1e9, g: 1e9, t: 1e12 };

  /** Return the number of a text such as 3e8, 300M or 1.5B; null where it is none above zero. */
  NCPL.parseCount = function (text) {
    const found = /^\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([kmbgt]?)\s*$/i.exec(text.replaceAll(",", ""));
    if (!found) return null;
    const value = Number(found[1]) * (SUFFIX[found[2].toLowerCase()] || 1);
    return Number.isFinite(value) && value > 0 ? value : null;
  };
})();
