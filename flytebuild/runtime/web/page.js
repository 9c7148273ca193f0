// While the run is under way, fetch the page again and put its content in place; what was unfolded stays so.
(function () {
  "use strict";
  async function refresh() {
    const main = document.querySelector("main");
    if (main.dataset.live !== "yes") return;
    try {
      const answer = await fetch(location.href);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main");
      document.querySelectorAll("details[open]").forEach(function (old) {
        const same = fresh.querySelector("#" + CSS.escape(old.id));
        if (same) same.open = true;
      });
      main.replaceWith(document.adoptNode(fresh));
      document.title = page.title;
    } catch (error) { /* The control plane is away: try again. */ }
    setTimeout(refresh, 1500);
  }
  setTimeout(refresh, 1500);
})();
