// Makes a page live. A stream of events says that something changed; the page then
// asks for itself and puts what differs in place. Parts that somebody is in the
// middle of (an open form, a focused field) are left alone. Without JavaScript the
// page is as good, and still.
(() => {
  "use strict";
  if (document.body.hasAttribute("data-still") || !document.querySelector("[data-live]")) return;
  const policy = window.trustedTypes
    ? trustedTypes.createPolicy("wavelock", { createHTML: (s) => s }) // only what this server sent, and only to be parsed
    : { createHTML: (s) => s };
  const pulse = document.querySelector("[data-pulse]");
  const announce = document.querySelector("[data-announce]");
  const busy = (part) => part.contains(document.activeElement) && document.activeElement.matches("input, button, summary, a");
  const state = (word) => { if (pulse) { pulse.hidden = false; pulse.dataset.state = word; pulse.textContent = word; } };

  const put = (page) => {
    if (document.getElementById("problem") && !page.getElementById("problem")) { location.reload(); return; }
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(part.id);
      if (!fresh || busy(part) || fresh.innerHTML === part.dataset.was) continue;
      const open = [...part.querySelectorAll("details")].map((d) => d.open);
      const now = fresh.innerHTML;
      if (part.dataset.was === undefined && now === part.innerHTML) { part.dataset.was = now; continue; }
      const said = part.querySelector("[data-say]")?.textContent;
      part.replaceChildren(...fresh.childNodes);
      part.dataset.was = now;
      part.querySelectorAll("details").forEach((d, i) => { if (open[i]) d.open = true; });
      const says = part.querySelector("[data-say]")?.textContent;
      if (says && says !== said) announce.textContent = says;
    }
  };

  let asking = false, again = false;
  const look = async () => {
    if (document.hidden) { again = true; return; }
    if (asking) { again = true; return; }
    asking = true;
    again = false;
    try {
      const answer = await fetch(location.href, { headers: { "Wavelock-Live": "1" }, redirect: "error" });
      const type = answer.headers.get("Content-Type") || "";
      if (answer.ok && type.startsWith("text/html")) put(new DOMParser().parseFromString(policy.createHTML(await answer.text()), "text/html"));
      state(answer.ok ? "live" : answer.status === 401 ? "logged out" : "not available");
    } catch {
      state("no connection");
    }
    asking = false;
    if (again) setTimeout(look, 1000);
  };

  const stream = new EventSource("/live");
  stream.addEventListener("open", () => state("live"));
  stream.addEventListener("error", () => state("no connection"));
  stream.addEventListener("changed", look);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) look(); });
  setInterval(look, 30000); // what changes by the clock alone
})();
