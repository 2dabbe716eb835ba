/* The page's own script: light and dark, search, bars, copying. The table is sorted by sortable-tablesort. */
"use strict";
(() => {
  const root = document.documentElement;
  const each = (selector, act) => document.querySelectorAll(selector).forEach(act);
  const store = { // a page in a sandbox has no storage
    get: () => { try { return localStorage.getItem("octconvert-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("octconvert-theme", value); } catch { /* kept until it is closed */ } },
  };
  const saved = store.get();
  if (saved === "light" || saved === "dark") root.dataset.theme = saved;
  const switcher = document.getElementById("theme");
  switcher.hidden = false;
  switcher.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    store.set(root.dataset.theme);
  });

  each(".search", (input) => {
    const table = input.closest(".card").querySelector("table");
    const count = input.parentElement.querySelector(".count");
    input.hidden = false;
    const show = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const rows = [...table.tBodies[0].rows];
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = words.length ? `${shown} of ${rows.length}` : "";
    };
    input.addEventListener("input", show);
  });

  each(".all", (button) => {
    button.hidden = false;
    const list = button.previousElementSibling, text = button.textContent;
    button.addEventListener("click", () => {
      const open = list.classList.toggle("open");
      button.textContent = open ? "Show the largest" : text;
    });
  });

  const copied = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* not allowed here: the old way */ }
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };
  each(".copy", (button) => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const done = await copied(button.previousElementSibling.textContent);
      button.textContent = done ? "Copied" : "Select it";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  });

  addEventListener("beforeprint", () => each("details", (part) => { part.open = true; }));

  // A layer that is chosen in one part of the page is shown in the others.
  document.addEventListener("click", (event) => {
    const line = event.target.closest("tbody tr[data-layer], .bars li[data-layer]");
    if (line && !String(getSelection())) document.dispatchEvent(new CustomEvent("layer", { detail: line.dataset.layer }));
  });
  if (document.getElementById("graph-data")) each("tbody tr[data-layer], .bars li[data-layer]", (line) => { line.title = "Show it in the graph"; });
  document.addEventListener("layer", (event) => {
    each("tr.found", (row) => row.classList.remove("found"));
    for (const row of document.querySelectorAll("tbody tr[data-layer]")) {
      if (row.dataset.layer !== event.detail) continue;
      row.classList.add("found");
      const frame = row.closest(".scroll");
      frame.scrollTop = row.offsetTop - frame.clientHeight / 2; // the page itself stays where it is
    }
  });
})();
