// Asks how far the import is once a second, and shows the outcome when it has ended.
"use strict";

(() => {
  const box = document.getElementById("import-progress");
  if (!box) return;
  const bar = box.querySelector("progress");
  const phase = box.querySelector("[data-phase]");
  const rows = box.querySelector("[data-rows]");
  const hint = box.querySelector("[data-hint]");
  const number = new Intl.NumberFormat();
  let waited = 0;

  function show(state) {
    if (state.status === "queued") {
      waited += 1;
      phase.textContent = "Waiting for the worker";
      if (waited > 20) {
        hint.textContent =
          "Nothing has started yet. Another task may be at work, or the worker is not running.";
      }
      return;
    }
    phase.textContent = state.message || "Working";
    bar.max = Math.max(state.total, 1);
    bar.value = state.done;
    rows.textContent = `${number.format(state.done)} of ${number.format(state.total)} rows`;
  }

  async function look() {
    try {
      const response = await fetch(box.dataset.statusUrl, { credentials: "same-origin" });
      // Signed out, or the page is gone: the server says what to do.
      if (response.redirected || response.status === 404 || response.status === 403) {
        window.location.reload();
        return;
      }
      if (response.ok) {
        const state = await response.json();
        if (!state.at_work) {
          window.location.reload();
          return;
        }
        show(state);
      }
    } catch {
      // The network is away for a moment; the import is not.
    }
    window.setTimeout(look, 1000);
  }

  window.setTimeout(look, 500);
})();
