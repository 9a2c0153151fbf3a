// The page around the viewers: which one is shown, the classes' controls, the server's numbers, copying, the theme.

import { showBytes } from "/static/amounts.js";
import { SliceView, element } from "/static/slices.js";
import "/static/theme.js";

const CACHE_MILLISECONDS = 2000;
const LOADING_MILLISECONDS = 300; // between two looks whether Neuroglancer has a layer

const config = JSON.parse(document.getElementById("config").textContent);
const byId = (id) => document.getElementById(id);
const frame = byId("viewer");
let slices = null;

function hasWebgl() {
  try {
    return document.createElement("canvas").getContext("webgl2") !== null;
  } catch {
    return false;
  }
}

// ---- which viewer

function hint(text) {
  byId("hint").hidden = !text;
  byId("hint").textContent = text;
}

function use(mode) {
  const viewer = mode === "viewer";
  if (viewer && !frame.src) frame.src = config.viewer;
  frame.hidden = !viewer;
  byId("slices").hidden = viewer;
  if (!viewer) {
    slices ??= new SliceView(byId("slices"), config.layers);
    slices.reset();
  }
  byId("use-viewer").setAttribute("aria-pressed", viewer);
  byId("use-slices").setAttribute("aria-pressed", !viewer);
  document.body.dataset.mode = mode;
  showControls();
}

function choose() {
  const webgl = hasWebgl();
  byId("use-viewer").disabled = !config.viewer || !webgl;
  if (config.viewer && !webgl) hint("This browser draws no WebGL, which Neuroglancer needs; here are slices instead.");
  const wanted = new URLSearchParams(location.search).get("view");
  use(config.viewer && webgl && wanted !== "slices" ? "viewer" : "slices");
}

// ---- the classes' controls

/** Neuroglancer's layer of a name, once it is there. */
function viewerLayer(name) {
  return frame.contentWindow?.viewer?.layerManager?.getLayerByName(name);
}

function setInViewer(name, changes) {
  if (!frame.src) return;
  const managed = viewerLayer(name);
  if (!managed?.layer) {
    setTimeout(() => setInViewer(name, changes), LOADING_MILLISECONDS);
    return;
  }
  if ("visible" in changes) managed.setVisible(changes.visible);
  if ("opacity" in changes && managed.layer?.opacity) managed.layer.opacity.value = changes.opacity;
  if ("opacity" in changes && managed.layer?.displayState?.selectedAlpha)
    managed.layer.displayState.selectedAlpha.value = changes.opacity;
  const threshold = managed.layer?.shaderControlState?.value?.get("threshold");
  if ("threshold" in changes && threshold) threshold.trackable.value = changes.threshold;
}

const chosen = new Map(); // what was set by hand, by name, so that it holds in both viewers

function set(name, changes) {
  chosen.set(name, { ...chosen.get(name), ...changes });
  setInViewer(name, changes);
  const stack = slices?.stacks.find((each) => each.name === name);
  if (stack) {
    Object.assign(stack, changes);
    slices.draw();
  }
}

function addRange(parent, text, value, act) {
  const label = element("label", { className: "range" });
  const number = element("output", { textContent: value.toFixed(2) });
  const slider = element("input", { type: "range", min: 0, max: 1, step: 0.01, value });
  slider.addEventListener("input", () => {
    number.textContent = slider.valueAsNumber.toFixed(2);
    act(slider.valueAsNumber);
  });
  label.append(text, slider, number);
  parent.append(label);
}

function addControls(name, { color, threshold, opacity, visible }) {
  const box = element("fieldset", {});
  const legend = element("legend", {});
  const label = element("label", {});
  const check = element("input", { type: "checkbox", checked: visible });
  check.addEventListener("change", () => set(name, { visible: check.checked }));
  label.append(check);
  if (color) {
    const swatch = element("span", { className: "swatch" });
    swatch.style.backgroundColor = color;
    label.append(swatch);
  }
  label.append(name);
  legend.append(label);
  box.append(legend);
  if (threshold !== undefined) addRange(box, "threshold", threshold, (value) => set(name, { threshold: value }));
  if (name !== "raw") addRange(box, "opacity", opacity, (value) => set(name, { opacity: value }));
  byId("controls").append(box);
}

function showControls() {
  if (byId("controls").dataset.made) {
    if (slices) for (const [name, changes] of chosen) set(name, changes);
    return;
  }
  byId("controls").dataset.made = "yes";
  for (const layer of config.layers) {
    const shown = ["raw", "probabilities"].includes(layer.name);
    const names = layer.name === "probabilities" ? layer.classes : [layer.name];
    names.forEach((name, i) => {
      const isClass = layer.name === "probabilities";
      const look = { color: isClass ? layer.colors[i] : null, opacity: 0.5, visible: shown };
      addControls(name, isClass ? { ...look, threshold: 0.5 } : look);
    });
  }
}

// ---- the server

async function showCache() {
  if (!document.hidden) {
    try {
      const answer = await fetch("/api/v1/cache", { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(answer.statusText);
      tellCache((await answer.json()).numbers);
    } catch {
      byId("progress").textContent = "The server does not answer.";
    }
  }
  setTimeout(showCache, CACHE_MILLISECONDS);
}

function tellCache(numbers) {
  const running = numbers.in_flight ?? 0;
  byId("progress").textContent = running ? `Computing ${running} block${running > 1 ? "s" : ""}` : "Nothing to compute.";
  byId("progress").dataset.busy = running > 0;
  const list = byId("cache");
  list.replaceChildren();
  for (const [name, value] of Object.entries(numbers)) {
    if (typeof value !== "number" || value === 0) continue;
    const shown = name.endsWith("bytes") ? showBytes(value) : value.toLocaleString("en");
    list.append(element("dt", { textContent: name.replaceAll("_", " ") }), element("dd", { textContent: shown }));
  }
}

// ---- the rest

function copyFrom(button) {
  const source = byId(button.dataset.from);
  const done = () => {
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  };
  const mark = () => getSelection().selectAllChildren(source); // where pages may not write to the clipboard
  if (navigator.clipboard) navigator.clipboard.writeText(source.textContent).then(done, mark);
  else mark();
}

byId("use-viewer").addEventListener("click", () => use("viewer"));
byId("use-slices").addEventListener("click", () => use("slices"));
byId("toggle-panel").addEventListener("click", () => {
  const open = byId("panel").toggleAttribute("hidden") === false;
  byId("toggle-panel").setAttribute("aria-expanded", open);
  slices?.draw();
});
for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", () => copyFrom(button));
for (const select of document.querySelectorAll(".choose select"))
  select.addEventListener("change", () => {
    if (select.name === "volume") document.querySelector("[name=project]")?.setAttribute("disabled", "");
    select.form.requestSubmit();
  });

choose();
showCache();
