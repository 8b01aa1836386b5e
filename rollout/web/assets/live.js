// Replaces the live part of the page with a fresh rendering every second, as
// long as the page is looked at. Without JavaScript the page is as good, and still.
(() => {
  const live = document.querySelector("[data-live]");
  if (!live) return;
  let last = live.innerHTML;
  const look = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-live]");
      if (fresh && fresh.innerHTML !== last) {
        live.replaceChildren(...fresh.childNodes);
        last = live.innerHTML;
      }
      live.classList.remove("stale");
    } catch {
      live.classList.add("stale");
    }
  };
  setInterval(look, 1000);
})();
