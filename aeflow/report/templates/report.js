// Step through the flags by keyboard.
(() => {
  const flags = [...document.querySelectorAll("article.flag")];
  const step = { j: 1, k: -1 };
  let current = -1;
  document.addEventListener("focusin", (event) => {
    const inside = event.target.closest("article.flag");
    if (inside) current = flags.indexOf(inside);
  });
  document.addEventListener("keydown", (event) => {
    if (!(event.key in step) || event.ctrlKey || event.metaKey || event.altKey || flags.length === 0) return;
    current = Math.min(Math.max(current + step[event.key], 0), flags.length - 1);
    flags[current].focus({ preventScroll: true });
    flags[current].scrollIntoView({ block: "start" });
  });
})();
// How much of the heatmap and of the regions is laid over an image.
(() => {
  for (const controls of document.querySelectorAll(".mix")) {
    const [strength, regions] = controls.querySelectorAll("input"), over = controls.closest("figure");
    const show = () => {
      over.querySelector(".heat").style.opacity = strength.value / 100;
      over.querySelectorAll(".box").forEach((box) => { box.style.display = regions && !regions.checked ? "none" : ""; });
    };
    controls.hidden = false;
    controls.addEventListener("input", show);
  }
})();
{% include "plot.js" %}
