// Shows how far runs are: asks every second, seldom while the page is hidden, and says when nobody
// answers. What a run became is the server's to show: the page is loaded again when it has ended.
"use strict";

(() => {
  const EVERY = 1000;
  const HIDDEN = 15000;
  const SLOWEST = 30000;
  const REMEMBERED = 15; // seconds that a rate is taken over
  const whole = new Intl.NumberFormat("en-US");

  function bytes(count) {
    const units = ["bytes", "KB", "MB", "GB", "TB", "PB"];
    let step = 0;
    while (count >= 1024 && step < units.length - 1) {
      count /= 1024;
      step += 1;
    }
    return `${step ? count.toFixed(1) : Math.round(count)} ${units[step]}`;
  }

  function time(seconds) {
    const s = Math.max(Math.round(seconds), 0);
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
    return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  }

  function follow(box) {
    const part = (name) => box.querySelector(`[data-${name}]`);
    const bar = box.querySelector("progress");
    let samples = [];
    let phase = "";
    let failures = 0;
    let gone = 0;
    let timer = 0;
    let began = performance.now() - Number(box.dataset.began) * 1000;

    function rate(state) {
      const now = performance.now() / 1000;
      if (state.phase !== phase || (samples.length && state.done < samples[0].done)) samples = [];
      phase = state.phase;
      samples.push({ at: now, done: state.done });
      samples = samples.filter((sample) => now - sample.at <= REMEMBERED);
      const first = samples[0];
      return now - first.at >= 2 ? (state.done - first.done) / (now - first.at) : 0;
    }

    function amount(state) {
      if (!state.done || !state.unit) return "";
      const said = state.unit === "bytes" ? bytes : (count) => whole.format(Math.round(count));
      const unit = state.unit === "bytes" ? "" : ` ${state.unit}`;
      const speed = rate(state);
      // A total may be a guess; what went beyond it is not shown against it.
      const known = state.total && state.done <= state.total;
      const words = [`${said(state.done)}${known ? ` of ${said(state.total)}` : ""}${unit}`];
      if (speed > 0) {
        words.push(`${said(speed)}${unit}/s`);
        if (known) words.push(`about ${time((state.total - state.done) / speed)} left`);
      }
      return words.join(", ");
    }

    function show(state) {
      began = performance.now() - state.elapsed * 1000;
      part("phase").textContent = state.phase;
      part("hint").textContent = state.hint;
      part("amount").textContent = amount(state);
      if (state.total && state.done <= state.total && state.status === "running") {
        bar.max = state.total;
        bar.value = state.done;
      } else {
        bar.removeAttribute("value");
      }
    }

    function ended() {
      // Whoever is answering a dialog is not thrown out of it.
      const dialog = document.querySelector("#modal-content #dialog");
      if (dialog && dialog.offsetParent !== null) {
        timer = window.setTimeout(ended, 1000);
        return;
      }
      window.location.reload();
    }

    async function look() {
      window.clearTimeout(timer);
      let wait = document.hidden ? HIDDEN : EVERY;
      try {
        const response = await fetch(box.dataset.run, { credentials: "same-origin", cache: "no-store" });
        // Signed out, or the page is gone: the server says what to do. Said twice, that is: while a
        // restored database takes the live one's place, one answer may come from between the two.
        if (response.redirected || response.status === 404 || response.status === 403) {
          gone += 1;
          if (gone > 1) {
            window.location.reload();
            return;
          }
          timer = window.setTimeout(look, EVERY);
          return;
        }
        gone = 0;
        if (!response.ok) throw new Error(String(response.status));
        const state = await response.json();
        failures = 0;
        part("lost").hidden = true;
        if (!state.at_work) {
          ended();
          return;
        }
        show(state);
      } catch {
        failures += 1;
        part("lost").hidden = false;
        wait = Math.min(wait * 2 ** failures, SLOWEST);
      }
      timer = window.setTimeout(look, wait);
    }

    const tick = () => {
      part("elapsed").textContent = time((performance.now() - began) / 1000);
    };
    tick();
    window.setInterval(tick, 1000);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) look();
    });
    timer = window.setTimeout(look, 300);
  }

  document.querySelectorAll("[data-run]").forEach(follow);
})();
