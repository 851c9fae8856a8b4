// Keeps the list of devices up to date. The page works without it, but does not change then.
"use strict";

(() => {
  const region = document.querySelector("[data-aiosess]");
  if (!region) return;
  const told = region.dataset;
  // The links are relative to this page; a script of it may change its address later.
  const absolute = (link, base) => new URL(link, base).href;
  const [listAt, eventsAt, signInAt] = [told.list, told.events, told.signInAt].map((link) => absolute(link, document.baseURI));
  const status = region.querySelector("[role=status]");
  const live = () => region.querySelector(".as-live");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  // Update relative times; show exact times in the browser's time zone.

  const language = region.closest("[lang]")?.lang || navigator.language;
  const exact = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long" });
  const relative = new Intl.RelativeTimeFormat(language);
  const units = [["day", 86400], ["hour", 3600], ["minute", 60]];

  const tellTimes = () => {
    for (const time of region.querySelectorAll("time")) {
      const at = new Date(time.dateTime);
      const age = (Date.now() - at) / 1000;
      time.title = exact.format(at);
      const unit = units.find(([, seconds]) => age >= seconds);
      if (unit && age <= 30 * 86400) time.textContent = relative.format(-Math.floor(age / unit[1]), unit[0]);
    }
  };

  // Replace the list. Rows that stay are not replaced, so the focus and the scroll position stay too.

  const leave = (row) => {
    if (row.contains(document.activeElement)) live().focus();
    row.removeAttribute("id");
    row.classList.add("as-out");
    setTimeout(() => row.remove(), calm.matches ? 0 : 250);
  };

  const swapRows = (list, fresh) => {
    const staying = new Set([...fresh.children].map((row) => row.id));
    for (const row of [...list.children]) if (row.id && !staying.has(row.id)) leave(row);
    let next = list.firstElementChild;
    for (const row of [...fresh.children]) {
      const known = document.getElementById(row.id);
      while (next && !next.id) next = next.nextElementSibling;
      if (known) {
        known.querySelector(".as-facts").replaceWith(row.querySelector(".as-facts"));
        if (known === next) next = next.nextElementSibling;
        else list.insertBefore(known, next);
      } else {
        row.classList.add("as-in");
        list.insertBefore(row, next);
      }
    }
  };

  const swap = (html, base) => {
    const fresh = new DOMParser().parseFromString(html, "text/html").querySelector(".as-live");
    if (!fresh) return;
    // Its links are relative to the list's address, not to the page's.
    for (const link of fresh.querySelectorAll("a")) link.href = absolute(link.getAttribute("href"), base);
    const old = live();
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const changed = old.dataset.stamp !== fresh.dataset.stamp;
    const [list, freshList] = [old, fresh].map((part) => part.querySelector(".as-devices"));
    if (list && freshList) {
      swapRows(list, freshList);
      for (const part of [...old.children]) if (part !== list) part.remove();
      const parts = [...fresh.children];
      const place = parts.indexOf(freshList);
      list.before(...parts.slice(0, place));
      list.after(...parts.slice(place + 1));
    } else {
      old.replaceChildren(...fresh.children);
    }
    old.dataset.stamp = fresh.dataset.stamp;
    if (focused && !focused.isConnected) {
      const same = [...old.querySelectorAll("a")].find((link) => link.href === focused.href);
      (same || old).focus({ preventScroll: true });
    }
    tellTimes();
    if (changed) status.textContent = told.changed;
  };

  // The session of this browser ended: remove the list from the screen.

  let isOver = false;
  let cause = "unknown";

  const showGone = () => {
    isOver = true;
    stop();
    clearInterval(clock);
    const add = (parent, name, className, text) => {
      const element = document.createElement(name);
      element.className = className;
      element.textContent = text;
      parent.append(element);
      return element;
    };
    const card = document.createElement("section");
    card.className = "as-card as-ask";
    card.setAttribute("role", "alert");
    card.tabIndex = -1;
    add(card, "h2", "as-title", told.gone);
    add(card, "p", "as-about", { expired: told.goneExpired, unknown: told.goneUnknown }[cause] || told.goneAbout);
    const buttons = add(card, "p", "as-buttons", "");
    add(buttons, "a", "as-button as-primary", told.signIn).href = signInAt;
    document.querySelector(".as-notice")?.remove();
    region.replaceChildren(card);
    card.focus();
  };

  // Fetch the list. True: it is up to date. False: the session ended. Undefined: the server does not answer.

  const refresh = async () => {
    try {
      const response = await fetch(listAt, { headers: { Accept: "text/html" }, cache: "no-store", redirect: "manual" });
      // 204: no session. An application may answer with a 401 or a redirect instead.
      if (response.status === 204 || response.status === 401 || response.type === "opaqueredirect") return false;
      if (!response.ok) return undefined;
      swap(await response.text(), response.url);
      cause = "unknown";
      return true;
    } catch {
      return undefined;
    }
  };

  // Listen while the page is visible, on one connection. After a failure, wait twice as long each time.

  const SOONEST = 1000;
  const LATEST = 60000;
  let source = null;
  let timer = 0;
  let wait = SOONEST;

  const stop = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };

  const again = () => {
    stop();
    timer = setTimeout(start, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, LATEST);
  };

  const start = async () => {
    stop();
    if (isOver) return;
    const answer = await refresh();
    if (isOver) return;
    if (answer === false) showGone();
    else if (answer === undefined) again();
    else if (!document.hidden) listen();
  };

  const listen = () => {
    stop();
    source = new EventSource(eventsAt);
    source.addEventListener("list", (event) => {
      wait = SOONEST;
      if (event.data !== live().dataset.stamp) refresh();
    });
    source.addEventListener("ended", (event) => {
      cause = event.data;
      start(); // another tab may have signed in since; only the server knows
    });
    source.addEventListener("error", again);
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => event.persisted && start());
  // A reload must not show the notice again.
  if (location.search.includes("done=")) history.replaceState(null, "", location.pathname);
  const clock = setInterval(tellTimes, 30000);
  tellTimes();
  if (!document.hidden) listen();
})();
