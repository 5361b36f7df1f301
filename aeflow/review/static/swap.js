// Swaps parts of the page in place of whole loads. It understands the few attributes of HTMX that the pages use,
// with HTMX's meaning: hx-boost, hx-get, hx-target, hx-trigger (load, change), and the headers HX-Request,
// HX-Push-Url and HX-Redirect. Without it the same links and forms load whole pages.
(() => {
  "use strict";
  let newest = 0;

  function targetOf(element) {
    const named = element.closest("[hx-target]");
    return document.querySelector(named ? named.getAttribute("hx-target") : "#main");
  }

  function say(text) {
    const notice = document.getElementById("notice");
    if (notice) notice.textContent = text;
  }

  function place(html, target) {
    const parsed = new DOMParser().parseFromString(html, "text/html");
    const title = parsed.querySelector("title");
    if (title && target.id === "main") document.title = title.textContent;
    title?.remove();
    target.replaceChildren(...parsed.head.childNodes, ...parsed.body.childNodes);
    target.removeAttribute("aria-busy");
    loadInside(target);
    target.dispatchEvent(new CustomEvent("htmx:afterSwap", { bubbles: true }));
  }

  async function ask(url, { method = "GET", body, target, push = true }) {
    const whole = target.id === "main";
    const mine = whole ? ++newest : newest;
    let response;
    try {
      response = await fetch(url, { method, body, headers: { "HX-Request": "true" } });
    } catch {
      say("The app does not answer. Is it still running? Nothing was changed.");
      return;
    }
    const redirect = response.headers.get("HX-Redirect");
    if (redirect) {
      location.assign(redirect);
      return;
    }
    const type = response.headers.get("Content-Type") || "";
    const text = await response.text();
    if (mine !== newest) return; // a later one was asked for meanwhile
    if (!type.startsWith("text/html")) {
      say(text);
      return;
    }
    place(text, target);
    if (!whole) return;
    const address = response.headers.get("HX-Push-Url") || (method === "GET" ? url : null);
    if (push && address && response.ok) history.pushState({}, "", address);
    if (push) window.scrollTo(0, 0);
    document.getElementById("main").focus({ preventScroll: true });
  }

  function loadInside(element) {
    for (const lazy of element.querySelectorAll('[hx-get][hx-trigger="load"]')) {
      ask(lazy.getAttribute("hx-get"), { target: lazy, push: false });
    }
  }

  function boosted(element) {
    return element.closest("[hx-boost]")?.getAttribute("hx-boost") === "true";
  }

  function send(form, button) {
    const fields = new URLSearchParams(new FormData(form, button));
    const url = new URL(button?.getAttribute("formaction") || form.getAttribute("action"), location.href);
    const target = targetOf(form);
    if (form.method === "post") return ask(url.href, { method: "POST", body: fields, target });
    for (const [name, value] of [...fields]) if (value === "") fields.delete(name, value);
    url.search = fields;
    return ask(url.href, { target, push: target.id === "main" });
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (!boosted(link) || link.origin !== location.origin || link.getAttribute("href").startsWith("#")) return;
    event.preventDefault();
    ask(link.href, { target: targetOf(link) });
  });

  document.addEventListener("submit", (event) => {
    if (!boosted(event.target) || event.target.method === "dialog") return;
    event.preventDefault();
    send(event.target, event.submitter);
  });

  document.addEventListener("change", (event) => {
    const form = event.target.closest?.('form[hx-trigger="change"]');
    if (form) send(form);
  });

  window.addEventListener("popstate", () => {
    ask(location.href, { target: document.getElementById("main"), push: false });
  });

  loadInside(document);
})();
