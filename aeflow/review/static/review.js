// Keys, lists, and pictures that can be looked at closely.
(() => {
  "use strict";
  const main = document.getElementById("main");

  // --- keys: an element names those that press it, or bring the focus to it.
  function keyed(key) {
    const named = [...document.querySelectorAll("[data-key]")].filter((e) => e.dataset.key.split(" ").includes(key));
    return named.find((element) => element.checkVisibility()); // what is folded away is not pressed
  }

  function isField(element) {
    return element instanceof HTMLInputElement && !["checkbox", "range", "button"].includes(element.type);
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const dialog = document.querySelector("dialog[open]");
    if (dialog) {
      if (event.key === "?") dialog.close();
      return;
    }
    const active = document.activeElement;
    if (isField(active) || active instanceof HTMLSelectElement) {
      if (event.key === "Escape") active.blur();
      // Enter in the note would send the first button: a note alone is no verdict.
      if (event.key === "Enter" && active.name === "note") {
        event.preventDefault();
        active.blur();
      }
      return;
    }
    if (event.repeat && !["j", "k", "+", "-", "ArrowUp", "ArrowDown"].includes(event.key)) return;
    if (active?.type === "range" && event.key.startsWith("Arrow")) return;
    const element = keyed(event.key);
    if (element) {
      event.preventDefault();
      if (isField(element)) element.focus();
      else element.click();
      return;
    }
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
    if (step && moveInList(step)) event.preventDefault();
    if (event.key === "h") toggleHeat();
    const ofPlot = { "+": 0, "=": 0, "-": 1, 0: 2 }[event.key];
    main.querySelectorAll("#plot .tools button")[ofPlot]?.click();
  });

  function moveInList(step) {
    const lines = [...main.querySelectorAll("ul.lines:not(.small) a.line")];
    if (lines.length === 0) return false;
    const here = lines.indexOf(document.activeElement);
    const next = lines[Math.min(Math.max(here + step, 0), lines.length - 1)];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
    return true;
  }

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) document.getElementById(opener.dataset.opens).showModal();
    const zoom = event.target.closest("[data-zoom]");
    if (zoom) zoomBy({ in: 1.5, out: 1 / 1.5, reset: 0 }[zoom.dataset.zoom]);
  });

  // A menu closes when one looks elsewhere.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target) || event.target.closest("a")) menu.open = false;
    }
  });

  // --- pictures: all of a stage show the same part.
  let heat = 45;

  function stage() {
    return main.querySelector("[data-stage]");
  }

  function views() {
    return [...(stage()?.querySelectorAll("[data-view]") ?? [])];
  }

  function whole(view) {
    view.dataset.whole ??= view.getAttribute("viewBox");
    return view.dataset.whole.split(" ").map(Number);
  }

  function part(view) {
    return view.getAttribute("viewBox").split(" ").map(Number);
  }

  function show(x, y, width) {
    for (const view of views()) {
      const [, , fullWidth, fullHeight] = whole(view);
      const height = (width / fullWidth) * fullHeight;
      const left = Math.min(Math.max(x, 0), fullWidth - width);
      const top = Math.min(Math.max(y, 0), fullHeight - height);
      view.setAttribute("viewBox", `${left} ${top} ${width} ${height}`);
      view.classList.toggle("zoomed", width < fullWidth);
    }
  }

  function zoomBy(factor, at) {
    const view = views()[0];
    if (!view) return;
    const [, , fullWidth] = whole(view);
    const [x, y, width, height] = part(view);
    const to = factor === 0 ? fullWidth : Math.min(Math.max(width / factor, fullWidth / 40), fullWidth);
    const [atX, atY] = at ?? worst(view) ?? [0.5, 0.5];
    show(x + atX * (width - to), y + atY * height * (1 - to / width), to);
  }

  // By keyboard one looks closer at the worst region.
  function worst(view) {
    const box = view.querySelector(".box")?.getBBox();
    if (!box) return null;
    const [x, y, width, height] = part(view);
    const at = [(box.x + box.width / 2 - x) / width, (box.y + box.height / 2 - y) / height];
    return at.map((share) => Math.min(Math.max(share, 0), 1));
  }

  function within(view, event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(view.getScreenCTM().inverse());
    const [x, y, width, height] = part(view);
    return [(point.x - x) / width, (point.y - y) / height];
  }

  main.addEventListener(
    "wheel",
    (event) => {
      const view = event.target.closest("[data-view]");
      if (!view) return;
      event.preventDefault();
      zoomBy(Math.exp(-event.deltaY / 400), within(view, event));
    },
    { passive: false },
  );

  main.addEventListener("pointerdown", (event) => {
    const view = event.target.closest("[data-view]");
    if (!view || event.button !== 0 || !view.classList.contains("zoomed")) return;
    event.preventDefault();
    view.setPointerCapture(event.pointerId);
    const [x, y, width] = part(view);
    const scale = view.getScreenCTM().a;
    const move = (moved) => show(x - (moved.clientX - event.clientX) / scale, y - (moved.clientY - event.clientY) / scale, width);
    view.addEventListener("pointermove", move);
    view.addEventListener("pointerup", () => view.removeEventListener("pointermove", move), { once: true });
  });

  main.addEventListener("dblclick", (event) => {
    const view = event.target.closest("[data-view]");
    if (view) zoomBy(view.classList.contains("zoomed") ? 0 : 3, within(view, event));
  });

  function setHeat(value) {
    for (const image of main.querySelectorAll(".heat")) image.setAttribute("opacity", value / 100);
    const slider = main.querySelector("[data-heat]");
    if (slider) slider.value = value;
  }

  function toggleHeat() {
    const slider = main.querySelector("[data-heat]");
    if (!slider) return;
    const now = Number(slider.value);
    if (now > 0) heat = now;
    setHeat(now > 0 ? 0 : heat);
  }

  main.addEventListener("input", (event) => {
    if (event.target.matches("[data-heat]")) setHeat(event.target.value);
    if (event.target.matches("[data-boxes]")) stage().classList.toggle("without-boxes", !event.target.checked);
  });

  // --- what comes next is fetched while a person looks.
  function fetchNext() {
    const next = main.querySelector("[data-next]")?.dataset.next;
    if (next) for (const name of ["original", "heat", "expected"]) new Image().src = `/flag/${next}/${name}.png`;
  }

  main.addEventListener("htmx:afterSwap", fetchNext);
  window.addEventListener("load", fetchNext);
})();
