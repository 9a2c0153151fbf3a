"use strict";
// Turns the detections in a box by pointer or keys. Places are 16-bit numbers of the largest edge, in x y z order.
(() => {
  const canvas = document.querySelector("canvas[data-places]");
  if (!canvas) return;
  document.documentElement.classList.add("scripted");
  const context = canvas.getContext("2d");
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const places = new Uint16Array(bytes(canvas.dataset.places).buffer);
  const groups = bytes(canvas.dataset.groups);
  const edges = canvas.dataset.edges.split(" ").map(Number); // x y z, the largest is 1
  const names = JSON.parse(canvas.dataset.names); // of the axes, with their lengths
  const colors = canvas.dataset.colors.split(" "); // of the groups
  const number = groups.length;
  const hidden = new Set();
  const first = { turn: -0.6, tilt: 0.5, zoom: 1 };
  let view = { ...first };
  let waiting = false;

  const project = (x, y, z) => {
    const [ct, st, ci, si] = [Math.cos(view.turn), Math.sin(view.turn), Math.cos(view.tilt), Math.sin(view.tilt)];
    x -= edges[0] / 2; y -= edges[1] / 2; z -= edges[2] / 2;
    const across = x * ct - z * st;
    const away = x * st + z * ct;
    return [across, y * ci - away * si, y * si + away * ci];
  };

  const draw = () => {
    waiting = false;
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(document.documentElement);
    const shade = (name) => style.getPropertyValue(name).trim();
    const size = (Math.min(width, height) / Math.max(1.15, Math.hypot(...edges))) * 0.95 * view.zoom;
    const at = (p) => [width / 2 + p[0] * size, height / 2 + p[1] * size];
    drawBox(at, shade("--soft"), shade("--ink"));
    drawDots(at, colors.map((color) => shade(`--c${color}`) || "#888"));
  };

  const drawBox = (at, line, ink) => {
    const corner = (k) => project(...[0, 1, 2].map((axis) => ((k >> axis) & 1) * edges[axis]));
    context.strokeStyle = line;
    context.lineWidth = 1;
    context.globalAlpha = 0.7;
    context.beginPath();
    for (let k = 0; k < 8; k++) {
      for (let axis = 0; axis < 3; axis++) {
        if ((k >> axis) & 1) continue;
        context.moveTo(...at(corner(k)));
        context.lineTo(...at(corner(k | (1 << axis))));
      }
    }
    context.stroke();
    context.globalAlpha = 1;
    context.fillStyle = ink;
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    const middle = at(project(edges[0] / 2, edges[1] / 2, edges[2] / 2));
    for (let axis = 0; axis < 3; axis++) {
      const end = [0, 0, 0];
      end[axis] = edges[axis] / 2;
      if (axis !== 1) end[1] = edges[1];
      const p = at(project(...end));
      const away = Math.hypot(p[0] - middle[0], p[1] - middle[1]) || 1;
      context.fillText(names[axis], p[0] + ((p[0] - middle[0]) / away) * 26, p[1] + ((p[1] - middle[1]) / away) * 18 + 4);
    }
  };

  const drawDots = (at, shades) => {
    const layers = [[], [], [], []]; // far to near
    const far = Math.hypot(...edges) / 2;
    for (let k = 0; k < number; k++) {
      if (hidden.has(groups[k])) continue;
      const p = project(places[3 * k] / 65535, places[3 * k + 1] / 65535, places[3 * k + 2] / 65535);
      const layer = Math.min(3, Math.max(0, Math.floor((1 - p[2] / far) * 2)));
      layers[layer].push(groups[k], ...at(p));
    }
    const grow = (number > 5000 ? 0.7 : number > 800 ? 1 : 1.6) * Math.sqrt(view.zoom);
    layers.forEach((dots, layer) => {
      context.globalAlpha = 0.45 + 0.15 * layer;
      const radius = (1.1 + 0.45 * layer) * grow;
      for (let k = 0; k < dots.length; k += 3) {
        context.fillStyle = shades[dots[k]];
        if (number > 5000) {
          context.fillRect(dots[k + 1] - radius, dots[k + 2] - radius, 2 * radius, 2 * radius);
        } else {
          context.beginPath();
          context.arc(dots[k + 1], dots[k + 2], radius + 1, 0, 7);
          context.fill();
        }
      }
    });
    context.globalAlpha = 1;
  };

  const redraw = () => {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  };
  const turn = (across, down) => {
    view.turn += across;
    view.tilt = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, view.tilt + down));
    redraw();
  };
  const zoom = (by) => {
    view.zoom = Math.max(0.4, Math.min(12, view.zoom * by));
    redraw();
  };

  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) turn(event.movementX * 0.008, event.movementY * 0.008);
  });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // the page is to scroll
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300));
  }, { passive: false });
  const keys = {
    ArrowLeft: () => turn(-0.1, 0), ArrowRight: () => turn(0.1, 0), ArrowUp: () => turn(0, -0.1), ArrowDown: () => turn(0, 0.1),
    "+": () => zoom(1.2), "-": () => zoom(1 / 1.2),
  };
  canvas.addEventListener("keydown", (event) => {
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  const views = { reset: first, z: { turn: 0, tilt: 0, zoom: 1 }, y: { turn: 0, tilt: Math.PI / 2, zoom: 1 }, x: { turn: Math.PI / 2, tilt: 0, zoom: 1 } };
  const presses = { nearer: () => zoom(1.4), farther: () => zoom(1 / 1.4) };
  for (const button of document.querySelectorAll("button[data-view]")) {
    button.addEventListener("click", () => {
      const press = presses[button.dataset.view];
      if (press) press();
      else view = { ...views[button.dataset.view] };
      redraw();
    });
  }
  for (const choice of document.querySelectorAll("input[data-group]")) {
    choice.addEventListener("change", () => {
      hidden[choice.checked ? "delete" : "add"](Number(choice.dataset.group));
      redraw();
    });
  }
  window.addEventListener("resize", redraw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  redraw();
})();
