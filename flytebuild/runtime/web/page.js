// While something is under way, fetch the page again and put its content in place; what was unfolded stays so. A run's
// page is told when by the server (data-events); a list of runs asks now and then.
(function () {
  "use strict";
  const POLL = 1500;
  let isBusy = false, isStale = false;
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
    } catch (error) { /* The control plane is away: try again. */ }
    isBusy = false;
    if (isStale) { isStale = false; refresh(); }
  }
  function isLive() { return document.querySelector("main").dataset.live === "yes"; }
  const events = document.querySelector("main").dataset.events;
  if (events) {
    const source = new EventSource(events);
    source.addEventListener("change", async function () {
      await refresh();
      if (!isLive()) source.close();
    });
  } else {
    setInterval(function () { if (isLive()) refresh(); }, POLL);
  }
})();
