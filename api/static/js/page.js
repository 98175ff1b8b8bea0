// What every page does with JavaScript: refresh while someone looks, and nothing else. Pages work without it.
"use strict";

document.documentElement.classList.add("js");

(() => {
  const EVERY_MS = 10_000;
  let paused = sessionStorage.getItem("live") === "paused";

  // Someone typing must not have the form replaced under their hands.
  const isBusy = () => Boolean(document.activeElement?.closest("form"));

  const refresh = () => {
    if (paused || document.hidden || isBusy()) return;
    document.body.dispatchEvent(new Event("live:refresh"));
  };

  const showState = (button) => {
    button.setAttribute("aria-pressed", String(!paused));
    button.querySelector("span").textContent = paused ? "Paused" : "Live";
    button.title = paused ? "Refreshing is paused; press to go on" : "Refreshes every 10 seconds while you look; press to pause";
  };

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("[data-live-toggle]");
    showState(button);
    button.addEventListener("click", () => {
      paused = !paused;
      sessionStorage.setItem("live", paused ? "paused" : "on");
      showState(button);
      refresh();
    });
    setInterval(refresh, EVERY_MS);
    document.addEventListener("visibilitychange", refresh);
  });
})();
