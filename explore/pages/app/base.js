// What all pages share: elements, numbers as text, the state of the page in its address.
// Text from the catalog is only ever set as text (textContent, attributes): it can not become code.
window.NCPL = (function () {
  "use strict";

  /** Return an element with attributes, listeners (onclick: f) and children (elements or text). */
  function el(tag, attributes, ...children) {
    const found = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) found.addEventListener(name.slice(2), value);
      else if (name === "value") found.value = value;
      else found.setAttribute(name, value === true ? "" : String(value));
    }
    for (const child of children.flat()) {
      if (child === null || child === undefined) continue;
      found.append(child instanceof Node ? child : String(child));
    }
    return found;
  }

  /** Append children; what is null is left out. */
  function add(parent, ...children) {
    parent.append(...children.flat().filter((child) => child !== null && child !== undefined));
  }

  const SUFFIXES = [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]];

  /** Return a count with three digits and a suffix: 268M, 1.5B. */
  function count(value) {
    if (!Number.isFinite(value)) return "";
    for (const [size, suffix] of SUFFIXES) {
      if (Math.abs(value) >= size) return trimmed(value / size) + suffix;
    }
    return trimmed(value);
  }

  function trimmed(value) {
    return String(Number(value.toPrecision(3)));
  }

  /** Return a number as people write it: four digits, powers of ten where it is small or large. */
  function short(value) {
    if (!Number.isFinite(value)) return String(value);
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
      return value.toExponential(3).replace(/\.?0+e/, "e").replace("e+", "e");
    }
    return Number.isInteger(value) ? value.toLocaleString("en-US") : String(Number(value.toPrecision(4)));
  }

  /** Return a number with all its digits, a whole one with commas. */
  const exact = (value) => (Number.isInteger(value) ? value.toLocaleString("en-US") :
    Math.abs(value) < 1e-3 ? String(value) : value.toLocaleString("en-US", { maximumSignificantDigits: 8 }));

  const loss = (value) => (Number.isFinite(value) ? value.toFixed(4) : "");
  const COUNTS = /^(params_|tokens$|train_tokens|nominal_train|unique_tokens|data_tokens|batch_tokens)/;

  /** Return a value of a field as text. */
  function shown(name, value) {
    if (value === null || value === undefined) return "";
    if (typeof value !== "number") return String(value);
    if (COUNTS.test(name)) return count(value);
    return /loss|predicted|low|high/.test(name) ? loss(value) : short(value);
  }

  /** Return a field's name in words. */
  const words = (name) => (LABELS[name] || name.replaceAll("_", " "));
  const LABELS = {
    params_non_embedding: "parameters (non-embedding)", tokens: "tokens", train_tokens: "tokens",
    batch_size_sequences: "batch (sequences)", learning_rate: "learning rate",
    final_loss: "final loss", points: "curve points", rest: "run", predicted: "predicted",
    final_loss_metric: "metric", final_loss_unit: "unit",
  };

  /** Return the state in the address: page, the rest of its path, and named values. */
  function readState() {
    const text = location.hash.replace(/^#\/?/, ""), cut = text.indexOf("?");
    const path = cut < 0 ? text : text.slice(0, cut);
    const slash = path.indexOf("/");
    const decode = (part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    };
    return {
      page: slash < 0 ? path : path.slice(0, slash),
      rest: slash < 0 ? "" : decode(path.slice(slash + 1)),
      params: new URLSearchParams(cut < 0 ? "" : text.slice(cut + 1)),
    };
  }

  /** Return the address of a page. */
  function address(page, rest, values) {
    const params = new URLSearchParams();
    for (const [name, value] of Object.entries(values || {})) {
      if (value !== null && value !== undefined && value !== "") params.set(name, value);
    }
    const query = params.toString(), tail = rest ? "/" + encodeURIComponent(rest) : "";
    return `#/${page}${tail}${query ? "?" + query : ""}`;
  }

  /** Put the state into the address, without a step in the history. */
  function keep(page, rest, values) {
    const hash = address(page, rest, values);
    if (hash !== location.hash) history.replaceState(null, "", hash);
  }

  const runLink = (id, text) => el("a", { href: address("run", id) }, text || id);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  return { el, add, count, short, exact, loss, shown, words, readState, address, keep, runLink, colour, pages: {} };
})();
