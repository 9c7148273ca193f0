// Whenever the server says that something has changed (data-events), fetch the page again and put its content in place;
// what was unfolded stays so. A page that names no events any more changes no more. Times that go on (data-seconds) are
// counted from when the page came.
(function () {
  "use strict";
  let isBusy = false, isStale = false, born = performance.now();
  async function refresh() {
    if (isBusy) { isStale = true; return; }
    isBusy = true;
    try {
      const answer = await fetch(location.href);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const main = document.querySelector("main"), fresh = page.querySelector("main");
      document.querySelectorAll("details[id]").forEach(function (old) {
        const same = fresh.querySelector("#" + CSS.escape(old.id));
        if (same && same.open !== old.open) same.open = old.open || same.open;
      });
      main.replaceWith(document.adoptNode(fresh));
      document.title = page.title;
      born = performance.now();
    } catch (error) { /* The control plane is away: try again. */ }
    isBusy = false;
    if (isStale) { isStale = false; await refresh(); }
  }
  function duration(seconds) {
    const minutes = Math.floor(seconds / 60);
    if (minutes < 1) return seconds.toFixed(1) + " s";
    if (minutes < 60) return minutes + " min " + Math.floor(seconds % 60) + " s";
    return Math.floor(minutes / 60) + " h " + minutes % 60 + " min";
  }
  setInterval(function () {
    const since = (performance.now() - born) / 1000;
    document.querySelectorAll("[data-seconds]").forEach(function (item) {
      item.textContent = duration(Number(item.dataset.seconds) + since);
    });
  }, 1000);
  function events() { return document.querySelector("main").dataset.events; }
  if (events()) {
    const source = new EventSource(events());
    source.addEventListener("change", async function () {
      await refresh();
      if (!events()) source.close();
    });
  }
})();
