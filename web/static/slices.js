// Slices of a volume as pictures laid over each other: for browsers without WebGL, and for those who like it plain.

const RETRIES = 5;
const MARGIN = 1; // a voxel of a level takes at most about as many pixels, else a finer level is shown

/** What is laid over each other: raw data, each class of the probabilities, and so on. */
function listStacks(layers) {
  const stacks = [];
  for (const layer of layers) {
    const names = layer.name === "probabilities" ? layer.classes : [layer.name];
    names.forEach((name, channel) => {
      stacks.push({
        name,
        layer,
        channel,
        isClass: layer.name === "probabilities",
        color: layer.name === "probabilities" ? layer.colors[channel] : null,
        visible: ["raw", "probabilities"].includes(layer.name),
        opacity: layer.name === "raw" ? 1 : 0.5,
        threshold: 0.5,
      });
    });
  }
  return stacks;
}

export class SliceView {
  /**
   * @param {HTMLElement} root where to draw
   * @param {object[]} layers as the server describes them, raw data first
   */
  constructor(root, layers) {
    this.root = root;
    this.layers = layers;
    this.stacks = listStacks(layers);
    const raw = layers[0];
    this.size = Object.fromEntries([...raw.dims].map((axis, i) => [axis, raw.levels[0].shape[i]]));
    this.place = { t: 0, z: Math.floor((this.size.z ?? 1) / 2), c: 0 };
    this.pending = 0;
    this.build();
    this.reset();
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  build() {
    this.stage = element("div", { className: "stage", tabIndex: 0 });
    this.stage.setAttribute("role", "application");
    this.stage.setAttribute(
      "aria-label",
      "Slice. Arrow keys move, plus and minus zoom, page up and down change the plane, home shows all.",
    );
    for (const stack of this.stacks) {
      stack.box = element("div", { className: "stack" });
      stack.tiles = new Map();
      if (stack.isClass) stack.table = this.addFilter(stack);
      this.stage.append(stack.box);
    }
    this.bar = element("div", { className: "bar" });
    for (const axis of ["z", "t"]) if ((this.size[axis] ?? 1) > 1) this.bar.append(this.addSlider(axis));
    if (this.layers[0].channels > 1) this.bar.append(this.addSlider("c"));
    this.note = element("output", { className: "note" });
    this.bar.append(this.note);
    this.root.replaceChildren(this.stage, this.bar);
    this.listen();
  }

  addSlider(axis) {
    const label = element("label", { textContent: axis === "c" ? "raw channel " : `${axis} ` });
    const number = element("output", { textContent: this.place[axis] });
    const slider = element("input", { type: "range", min: 0, max: this.size[axis] - 1, value: this.place[axis] });
    slider.name = axis;
    slider.addEventListener("input", () => this.moveTo(axis, slider.valueAsNumber));
    label.append(slider, number);
    this.sliders = { ...this.sliders, [axis]: { slider, number } };
    return label;
  }

  /** A filter that makes what lies below the threshold transparent: the pictures stay as they are. */
  addFilter(stack) {
    const names = ["svg", "filter", "feComponentTransfer", "feFuncA"];
    const [svg, filter, transfer, table] = names.map((n) => document.createElementNS("http://www.w3.org/2000/svg", n));
    filter.id = `threshold-${stack.channel}`;
    filter.setAttribute("color-interpolation-filters", "sRGB");
    table.setAttribute("type", "discrete");
    svg.setAttribute("class", "filters");
    svg.setAttribute("aria-hidden", "true");
    transfer.append(table);
    filter.append(transfer);
    svg.append(filter);
    this.root.after(svg);
    stack.box.style.filter = `url(#${filter.id})`;
    return table;
  }

  listen() {
    const keys = {
      ArrowLeft: () => this.pan(-40, 0),
      ArrowRight: () => this.pan(40, 0),
      ArrowUp: () => this.pan(0, -40),
      ArrowDown: () => this.pan(0, 40),
      "+": () => this.zoomBy(1.25),
      "=": () => this.zoomBy(1.25),
      "-": () => this.zoomBy(0.8),
      PageUp: () => this.moveTo("z", this.place.z + 1),
      PageDown: () => this.moveTo("z", this.place.z - 1),
      Home: () => this.reset(),
    };
    this.stage.addEventListener("keydown", (event) => {
      const act = event.ctrlKey || event.altKey || event.metaKey ? null : keys[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
    this.stage.addEventListener("pointerdown", (event) => {
      this.stage.setPointerCapture(event.pointerId);
      this.dragged = [event.clientX, event.clientY];
    });
    this.stage.addEventListener("pointermove", (event) => {
      if (!this.dragged || !event.buttons) return;
      this.pan(this.dragged[0] - event.clientX, this.dragged[1] - event.clientY);
      this.dragged = [event.clientX, event.clientY];
    });
    this.stage.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        if (event.ctrlKey) this.zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15);
        else this.moveTo("z", this.place.z + Math.sign(event.deltaY));
      },
      { passive: false },
    );
  }

  /** Show all of the plane. */
  reset() {
    this.center = { x: this.size.x / 2, y: this.size.y / 2 };
    const { clientWidth, clientHeight } = this.stage;
    this.zoom = Math.min((clientWidth || 600) / this.size.x, (clientHeight || 600) / this.size.y);
    this.draw();
  }

  moveTo(axis, index) {
    if (!(axis in this.size)) return;
    this.place[axis] = Math.min(Math.max(index, 0), this.size[axis] - 1);
    if (this.sliders?.[axis]) {
      this.sliders[axis].slider.value = this.place[axis];
      this.sliders[axis].number.textContent = this.place[axis];
    }
    this.draw();
  }

  pan(dx, dy) {
    this.center.x = Math.min(Math.max(this.center.x + dx / this.zoom, 0), this.size.x);
    this.center.y = Math.min(Math.max(this.center.y + dy / this.zoom, 0), this.size.y);
    this.draw();
  }

  zoomBy(factor) {
    this.zoom = Math.min(Math.max(this.zoom * factor, 1e-4), 64);
    this.draw();
  }

  draw() {
    if (this.root.hidden) return;
    for (const stack of this.stacks) this.drawStack(stack);
    this.tell();
  }

  drawStack(stack) {
    stack.box.hidden = !stack.visible;
    stack.box.style.opacity = stack.opacity;
    if (stack.table) {
      const values = Array.from({ length: 256 }, (_, i) => (i / 255 < stack.threshold ? 0 : i / 255));
      stack.table.setAttribute("tableValues", values.map((v) => v.toFixed(4)).join(" "));
    }
    const wanted = stack.visible ? this.tilesOf(stack) : new Map();
    for (const [url, tile] of stack.tiles) {
      if (wanted.has(url)) continue;
      tile.remove();
      stack.tiles.delete(url);
    }
    for (const [url, [x, y, scaleX, scaleY]] of wanted) {
      const tile = stack.tiles.get(url) ?? this.addTile(stack, url);
      Object.assign(tile.place, { x, y, scaleX, scaleY });
      this.put(tile);
    }
  }

  /** URLs of the tiles that the stage needs of a stack, and where they go. */
  tilesOf(stack) {
    const { layer } = stack;
    const at = (values, axis, missing) => (layer.dims.includes(axis) ? values[layer.dims.indexOf(axis)] : missing);
    const fitting = layer.levels.findLastIndex((l) => at(l.factors, "x", 1) * this.zoom <= MARGIN);
    const number = Math.max(fitting, 0);
    const level = layer.levels[number];
    const [fx, fy] = [at(level.factors, "x", 1), at(level.factors, "y", 1)];
    const half = { x: this.stage.clientWidth / 2 / this.zoom, y: this.stage.clientHeight / 2 / this.zoom };
    const range = (axis, factor) => {
      const last = Math.ceil(at(level.shape, axis, 1) / layer.side) - 1;
      const low = Math.floor((this.center[axis] - half[axis]) / factor / layer.side);
      const high = Math.floor((this.center[axis] + half[axis]) / factor / layer.side);
      return [Math.max(low, 0), Math.min(high, last)];
    };
    const [x0, x1] = range("x", fx);
    const [y0, y1] = range("y", fy);
    const found = new Map();
    for (let y = y0; y <= y1; y++) {
      for (let x = x0; x <= x1; x++) {
        const index = [...layer.dims].map((axis, i) => {
          if (axis === "x") return x;
          if (axis === "y") return y;
          if (axis === "c") return stack.isClass ? stack.channel : this.place.c;
          return Math.min(Math.floor(this.place[axis] / level.factors[i]), level.shape[i] - 1);
        });
        const url = `${layer.tiles}${number}/${index.join("/")}.png`;
        found.set(url, [x * layer.side * fx, y * layer.side * fy, fx, fy]);
      }
    }
    stack.approximate = level.approximate;
    return found;
  }

  addTile(stack, url) {
    const tile = element("img", { alt: "", draggable: false, className: "tile" });
    tile.place = {};
    let left = RETRIES;
    this.pending++;
    const settle = () => {
      this.pending--;
      this.tell();
    };
    tile.addEventListener("load", () => {
      this.put(tile);
      settle();
    });
    tile.addEventListener("error", () => {
      if (left-- > 0 && tile.isConnected) setTimeout(() => (tile.src = url), 1000);
      else settle();
    });
    tile.src = url;
    stack.tiles.set(url, tile);
    stack.box.append(tile);
    return tile;
  }

  put(tile) {
    const { x, y, scaleX, scaleY } = tile.place;
    const left = (x - this.center.x) * this.zoom + this.stage.clientWidth / 2;
    const top = (y - this.center.y) * this.zoom + this.stage.clientHeight / 2;
    tile.style.transform = `translate(${left}px, ${top}px)`;
    tile.style.width = `${tile.naturalWidth * scaleX * this.zoom}px`;
    tile.style.height = `${tile.naturalHeight * scaleY * this.zoom}px`;
  }

  tell() {
    const rough = this.stacks.some((stack) => stack.visible && stack.approximate);
    const text = this.pending > 0 ? `${this.pending} pictures to come` : "";
    this.note.textContent = rough ? `${text} (approximate at this zoom)`.trim() : text;
    this.stage.dataset.pending = this.pending;
  }
}

export function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
