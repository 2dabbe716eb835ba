/* Draws the graph: dagre lays it out, d3-zoom moves it. Names are a stranger's text and only ever become text nodes. */
"use strict";
(() => {
  const source = document.getElementById("graph-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const WIDTH = 196, HEIGHT = 58, STRIPE = 6, MANY = 250;
  const NODES = data.nodes.map(([name, layer, className, frequency, sizes, share, facts, label]) =>
    ({ name, layer, className, frequency, sizes, share, facts, label: label || name }));
  const FOLDS = data.folds.map(([label, detail, first, last, parent, short]) => ({ label, detail, first, last, parent, short: short || label }));
  const MARKS = { pair: "pair", "whole-low": "low", plain: "" };

  const box = document.getElementById("graph-box"), details = document.getElementById("details");
  box.hidden = false;
  document.getElementById("graph-missing").remove();
  const svg = d3.select("#graph-view"), view = svg.node();
  const hatch = svg.append("defs").append("pattern").attr("id", "hatch").attr("width", 6).attr("height", 6)
    .attr("patternUnits", "userSpaceOnUse").attr("patternTransform", "rotate(45)");
  hatch.append("rect").attr("width", 6).attr("height", 6);
  hatch.append("path").attr("d", "M0 0V6");
  const scene = svg.append("g");
  const zoom = d3.zoom().scaleExtent([0.03, 2.5]).on("zoom", (event) => scene.attr("transform", event.transform))
    .filter((event) => (event.type !== "wheel" || event.ctrlKey || event.metaKey) && !event.button && event.type !== "dblclick");
  svg.call(zoom);

  const closed = new Set(data.folded ? FOLDS.keys() : []);
  const innermost = new Array(NODES.length).fill(-1);
  FOLDS.forEach((fold, index) => { for (let at = fold.first; at < fold.last; at += 1) innermost[at] = index; });
  let layout = null, pinned = null;

  /* "n12" or, where it lies in a closed fold, "f3" for the outermost of those. */
  const shownAs = (node) => {
    let name = `n${node}`;
    for (let fold = innermost[node]; fold >= 0; fold = FOLDS[fold].parent) if (closed.has(fold)) name = `f${fold}`;
    return name;
  };

  const laidOut = () => {
    const items = new Map();
    NODES.forEach((_, node) => { const name = shownAs(node); if (!items.has(name)) items.set(name, node); });
    const compound = items.size <= MANY; // of many boxes dagre is slow to lay out what is inside of what
    const graph = new dagre.graphlib.Graph({ compound });
    graph.setGraph({ ranksep: closed.size === FOLDS.length ? 34 : 50, nodesep: 26, marginx: 20, marginy: 20, ranker: compound ? "network-simplex" : "tight-tree" });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const name of items.keys()) graph.setNode(name, { width: WIDTH, height: HEIGHT });
    const within = new Map(); // open fold -> boxes right in it
    for (const [name, node] of items) {
      let parent = name[0] === "f" ? FOLDS[name.slice(1)].parent : innermost[node];
      for (let child = name; parent >= 0; child = `o${parent}`, parent = FOLDS[parent].parent) {
        within.set(parent, (within.get(parent) || new Set()).add(child));
        if (!compound) continue;
        if (!graph.hasNode(`o${parent}`)) graph.setNode(`o${parent}`, {});
        graph.setParent(child, `o${parent}`);
      }
    }
    for (const [from, to, frequency] of data.edges) {
      const [start, end] = [shownAs(from), shownAs(to)];
      if (start === end) continue;
      const known = graph.edge(start, end);
      if (known) known.kinds.add(frequency); else graph.setEdge(start, end, { kinds: new Set([frequency]) });
    }
    dagre.layout(graph);
    if (!compound) for (const fold of [...within.keys()].sort((a, b) => b - a)) graph.setNode(`o${fold}`, around(graph, within.get(fold)));
    return graph;
  };

  /* The frame around boxes; inner folds come behind outer ones, so theirs are there already. */
  const around = (graph, names) => {
    const edges = [Infinity, Infinity, -Infinity, -Infinity];
    for (const { x, y, width, height } of [...names].map((name) => graph.node(name))) {
      edges[0] = Math.min(edges[0], x - width / 2); edges[1] = Math.min(edges[1], y - height / 2);
      edges[2] = Math.max(edges[2], x + width / 2); edges[3] = Math.max(edges[3], y + height / 2);
    }
    const [left, top, right, bottom] = edges;
    return { x: (left + right) / 2, y: (top + bottom) / 2, width: right - left + 20, height: bottom - top + 20 };
  };

  const curve = (points) => {
    let path = `M${points[0].x} ${points[0].y}`;
    for (let at = 1; at < points.length - 1; at += 1) {
      const next = points[at + 1], end = at === points.length - 2 ? next : { x: (points[at].x + next.x) / 2, y: (points[at].y + next.y) / 2 };
      path += `Q${points[at].x} ${points[at].y} ${end.x} ${end.y}`;
    }
    return points.length > 2 ? path : `${path}L${points.at(-1).x} ${points.at(-1).y}`;
  };

  const counts = (fold) => {
    const found = { pair: 0, "whole-low": 0, plain: 0 };
    for (let at = fold.first; at < fold.last; at += 1) found[NODES[at].frequency] += 1;
    return found;
  };

  const drawEdges = (graph) => {
    const layer = scene.append("g");
    for (const key of graph.edges()) {
      const { points, kinds } = graph.edge(key), path = curve(points);
      const lines = kinds.has("pair") ? [["high", -1.6], ["low", 1.6]] : [[kinds.has("whole-low") ? "whole-low" : "plain", 0]];
      for (const [kind, shift] of lines) layer.append("path").attr("class", `edge ${kind}`).attr("d", path).attr("transform", shift ? `translate(${shift} ${shift})` : null);
    }
  };

  const drawFrames = (graph) => {
    const depth = (fold) => fold < 0 ? 0 : 1 + depth(FOLDS[fold].parent);
    const open = graph.nodes().filter((name) => name[0] === "o").map((name) => Number(name.slice(1))).sort((a, b) => depth(a) - depth(b));
    for (const fold of open) {
      const { x, y, width, height } = graph.node(`o${fold}`);
      const frame = scene.append("g").attr("class", "frame").attr("tabindex", 0).attr("role", "button").attr("data-fold", fold)
        .attr("aria-label", `Fold ${FOLDS[fold].label}`).attr("transform", `translate(${x - width / 2} ${y - height / 2})`);
      frame.append("rect").attr("width", width).attr("height", height).attr("rx", 10);
      const right = depth(fold) % 2; // the names of an outer and an inner frame must not meet
      frame.append("text").attr("x", right ? width - 12 : 12).attr("y", 4).attr("text-anchor", right ? "end" : "start").text(`\u2212 ${FOLDS[fold].short}`);
    }
  };

  const stripe = (group, kind, y, height) => group.append("rect").attr("class", `stripe ${kind}`).attr("x", 0).attr("y", y).attr("width", STRIPE).attr("height", height);

  const drawNode = (graph, name) => {
    const { x, y } = graph.node(name), index = Number(name.slice(1)), folded = name[0] === "f";
    const item = folded ? FOLDS[index] : NODES[index];
    const group = scene.append("g").attr("tabindex", 0).attr("role", "button").attr("data-name", name)
      .attr("transform", `translate(${x - WIDTH / 2} ${y - HEIGHT / 2})`);
    if (folded) group.append("rect").attr("class", "under").attr("x", 4).attr("y", 4).attr("width", WIDTH).attr("height", HEIGHT).attr("rx", 8);
    group.append("rect").attr("class", "body").attr("width", WIDTH).attr("height", HEIGHT).attr("rx", 8);
    const parts = folded ? counts(item) : null;
    const kind = folded ? Object.keys(parts).reduce((a, b) => (parts[b] > parts[a] ? b : a)) : item.frequency;
    group.attr("class", `node ${kind}${folded ? " fold" : ""}`).attr("aria-label", folded ? `Unfold ${item.label}, ${item.detail}` : `${item.name}, ${item.className}, ${item.frequency}`);
    const inner = HEIGHT - 12, high = kind === "pair" ? (folded ? 0.5 : item.share) : 0;
    if (kind === "pair") { stripe(group, "high", 6, inner * high); stripe(group, "low", 6 + inner * high, inner * (1 - high)); } else stripe(group, kind, 6, inner);
    const text = (value, css, line, at = 16) => group.append("text").attr("class", css).attr("x", at).attr("y", line).text(value);
    text(folded ? `+ ${item.detail}` : item.className.length > 23 ? `${item.className.slice(0, 22)}\u2026` : item.className, "class", 20);
    text(MARKS[kind], "mark", 20, WIDTH - 9);
    text(folded ? item.short : item.label, "small", 35);
    text(folded ? described(parts) : item.sizes, "small", 50);
  };

  const described = (parts) => Object.entries(parts).filter(([, count]) => count).map(([kind, count]) => `${count} ${kind}`).join(", ");

  const draw = () => {
    layout = laidOut();
    scene.selectAll("*").remove();
    drawFrames(layout);
    drawEdges(layout);
    for (const name of layout.nodes()) if (name[0] !== "o") drawNode(layout, name);
    mark();
  };

  /* The details of a node or fold; those of the pinned one where the pointer is on none. */
  const show = (name) => {
    details.replaceChildren();
    const add = (tag, text, css) => { const made = document.createElement(tag); made.textContent = text; if (css) made.className = css; details.append(made); return made; };
    if (!name) { add("p", "Point at a box, or tap it, to see the layer.", "class"); return; }
    const index = Number(name.slice(1)), item = name[0] === "f" ? FOLDS[index] : NODES[index];
    add("h3", item.label === item.short ? item.label : item.name || item.label);
    add("p", item.className || item.detail, "class");
    const list = add("dl", "");
    for (const [label, value] of item.facts || [["outputs", described(counts(item))]]) {
      const line = document.createElement("div"), term = document.createElement("dt"), text = document.createElement("dd");
      term.textContent = label; text.textContent = value; line.append(term, text); list.append(line);
    }
  };
  const mark = () => scene.selectAll(".node").classed("seen", function seen() { return this.dataset.name === pinned; });
  const pin = (name) => { pinned = name; mark(); show(name); };

  /* The scale at which the graph fits the width, and reads well. */
  const place = (whole) => {
    const { width, height } = layout.graph(), frame = view.getBoundingClientRect();
    const scale = Math.min(1, frame.width / width, whole ? frame.height / height : Infinity);
    const readable = whole ? scale : Math.max(scale, 0.85);
    const first = layout.node(shownAs(0)), middle = width * readable <= frame.width ? width / 2 : first.x;
    svg.call(zoom.transform, d3.zoomIdentity.translate(frame.width / 2 - middle * readable, whole ? Math.max(0, (frame.height - height * readable) / 2) : 0).scale(readable));
  };
  const centre = (name) => {
    const { x, y } = layout.node(name), frame = view.getBoundingClientRect(), scale = Math.max(0.7, d3.zoomTransform(view).k);
    svg.call(zoom.transform, d3.zoomIdentity.translate(frame.width / 2 - x * scale, frame.height / 3 - y * scale).scale(scale));
  };
  /* Fold or unfold one and leave it where the reader looks. */
  const toggle = (fold) => {
    const key = (name) => (layout.hasNode(name) ? layout.node(name) : null);
    const old = key(`f${fold}`) || key(`o${fold}`), top = old.y - old.height / 2;
    if (!closed.delete(fold)) closed.add(fold);
    draw();
    const now = key(`f${fold}`) || key(`o${fold}`), moved = d3.zoomTransform(view);
    svg.call(zoom.transform, d3.zoomIdentity.translate(moved.x + (old.x - now.x) * moved.k, moved.y + (top - now.y + now.height / 2) * moved.k).scale(moved.k));
    pin(closed.has(fold) ? `f${fold}` : null);
    const again = closed.has(fold) ? `[data-name="f${fold}"]` : `[data-fold="${fold}"]`;
    view.querySelector(again).focus({ preventScroll: true });
  };

  const act = (target) => {
    const node = target.closest(".node"), frame = target.closest(".frame");
    if (frame) toggle(Number(frame.dataset.fold));
    else if (node && node.dataset.name[0] === "f") toggle(Number(node.dataset.name.slice(1)));
    else if (node) {
      pin(node.dataset.name);
      document.dispatchEvent(new CustomEvent("layer", { detail: NODES[node.dataset.name.slice(1)].layer }));
    }
  };
  view.addEventListener("click", (event) => act(event.target));
  view.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(event.target); } });
  const hovered = (event) => { const node = event.target.closest(".node"); show(node ? node.dataset.name : pinned); };
  view.addEventListener("pointerover", hovered);
  view.addEventListener("focusin", (event) => {
    const node = event.target.closest(".node"), part = event.target.getBoundingClientRect(), all = view.getBoundingClientRect();
    if (node && (part.bottom > all.bottom || part.top < all.top || part.left < all.left || part.right > all.right)) centre(node.dataset.name);
    hovered(event);
  });
  view.addEventListener("pointerleave", () => show(pinned));
  document.addEventListener("layer", (event) => {
    const node = NODES.findIndex((each) => each.layer === event.detail);
    if (node < 0 || (pinned && pinned[0] === "n" && NODES[pinned.slice(1)].layer === event.detail)) return; // any call
    let changed = false;
    for (let fold = innermost[node]; fold >= 0; fold = FOLDS[fold].parent) changed = closed.delete(fold) || changed;
    if (changed) draw();
    pin(`n${node}`);
    centre(`n${node}`);
    box.scrollIntoView({ block: "center" });
  });

  const acts = {
    fold: () => { FOLDS.forEach((_, fold) => closed.add(fold)); draw(); place(false); pin(null); },
    unfold: () => { closed.clear(); draw(); place(false); pin(null); },
    in: () => svg.call(zoom.scaleBy, 1.4), out: () => svg.call(zoom.scaleBy, 1 / 1.4), fit: () => place(true),
  };
  box.querySelectorAll("[data-act]").forEach((button) => {
    button.hidden = !FOLDS.length && button.dataset.act.endsWith("fold");
    button.addEventListener("click", acts[button.dataset.act]);
  });
  draw();
  place(false);
  show(null);
})();
