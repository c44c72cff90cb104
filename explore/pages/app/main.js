// Which page is shown: by the address, so that a link keeps the state.
(function () {
  "use strict";
  const { el, readState, address } = NCPL;
  const NAV = [["", "Sources"], ["runs", "Runs"], ["curves", "Curves"], ["contours", "Contours"],
    ["predicted", "Predicted"], ["board", "Board"], ["plan", "Plan"]];
  const main = document.getElementById("main");
  let leave = null, turn = 0;

  function drawNav(page) {
    document.getElementById("nav").replaceChildren(...NAV.filter(([name]) => NCPL.pages[name])
      .map(([name, text]) => el("li", {}, el("a", { href: address(name),
        "aria-current": name === (page === "run" ? "runs" : page) ? "page" : null }, text))));
  }

  async function show() {
    const state = readState(), own = (turn += 1);
    const page = NCPL.pages[state.page] || NCPL.pages[""];
    if (leave) leave();
    leave = null;
    drawNav(state.page);
    document.title = `${page.title} - NCPL explorer`;
    const box = el("div", { class: `page page-${state.page || "home"}` });
    main.replaceChildren(box);
    main.setAttribute("aria-busy", "true");
    try {
      const done = await page.show(box, state);
      if (own === turn) leave = done || null;
      else if (done) done();
    } catch (error) {
      if (own === turn) {
        box.replaceChildren(el("h1", {}, page.title), el("p", { role: "alert", class: "note" }, error.message));
      }
    }
    if (own === turn) main.removeAttribute("aria-busy");
  }

  window.addEventListener("hashchange", () => {
    show().then(() => {
      main.focus({ preventScroll: true });
      window.scrollTo(0, 0);
    });
  });
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  NCPL.load("summary").then((told) => {
    document.getElementById("told").textContent =
      `Shows ${told.told}. Everything here is in this folder; no request goes anywhere else.`;
  });
  show();
})();
