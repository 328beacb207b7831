"use strict";
// The masks come as runs of equal weight, row by row; everything drawn is looked up in them.
const data = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const SHORTEST_LABELLED = 13; // pixels of a cell that has room for its token's text
const LARGEST_BLOCK = 80;
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function theme() {
  const style = getComputedStyle(document.documentElement);
  return {
    paper: style.getPropertyValue("--paper").trim(),
    ink: style.getPropertyValue("--ink").trim(),
    faint: style.getPropertyValue("--faint").trim(),
    line: style.getPropertyValue("--line").trim(),
    // What may not be read, then from the smallest weight to the largest.
    heat: dark.matches
      ? [[32, 39, 47], [38, 74, 108], [74, 138, 196], [190, 225, 255]]
      : [[240, 243, 246], [185, 213, 236], [63, 124, 172], [13, 59, 102]],
    strong: (hue, saturation) =>
      `hsl(${hue} ${saturation}% ${dark.matches ? 60 : 46}%)`,
  };
}

function colourOf(heat, shade) {
  const place = Math.min(shade, 0.999) * (heat.length - 1);
  const low = Math.floor(place);
  return heat[low].map((value, i) => value + (place - low) * (heat[low + 1][i] - value));
}

const css = (rgb) => `rgb(${rgb.map(Math.round).join(" ")})`;
const shadeOf = (weight) => (weight > 0 ? 0.3 + 0.7 * Math.sqrt(Math.min(weight, 1)) : 0);

// A canvas as wide as its place, drawn at the screen's own pixels.
function fitted(canvas, height) {
  const width = canvas.clientWidth, ratio = window.devicePixelRatio || 1;
  canvas.style.height = `${height(width)}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height(width) * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, width, height: height(width), ratio };
}

function pointOn(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

class MaskMap {
  constructor(section) {
    this.mask = data.masks[Number(section.dataset.number)];
    this.canvas = section.querySelector("canvas");
    this.readout = section.querySelector(".readout");
    this.hint = this.readout.textContent;
    this.buttons = [...section.querySelectorAll("button")];
    this.spans = [...section.querySelectorAll(".part span:not(.faint)")];
    this.shades = [...section.querySelectorAll(".shade")];
    this.size = this.mask.parts.at(-1).end;
    this.whole();
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.leave());
    this.canvas.addEventListener("click", (event) => this.click(event));
    this.canvas.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { this.whole(); this.draw(); }
      if (event.key === "Enter") this.choose(this.at);
      const moved = MOVES[event.key];
      if (!moved || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault(); // the page stays where it is
      this.go(this.at.row + moved[0], this.at.column + moved[1]);
    });
    for (const button of this.buttons) {
      button.addEventListener("click", () => {
        const part = this.mask.parts[Number(button.dataset.part)];
        if (part) this.zoom(part, this.everything); else this.whole();
        this.draw();
      });
    }
  }

  get everything() { return { start: 0, end: this.size }; }

  whole() { this.zoom(this.everything, this.everything); }

  zoom(rows, columns) {
    this.rows = rows;
    this.columns = columns;
    this.at = { row: rows.end - 1, column: columns.start, inMap: true };
    this.leave();
    const shown = this.mask.parts.indexOf(rows);
    for (const button of this.buttons) {
      const is = Number(button.dataset.part) === shown;
      button.setAttribute("aria-pressed", String(is));
    }
  }

  weight(row, column) {
    const runs = this.mask.rows[row];
    for (let i = 0; i < runs.length; i += 2) {
      if (column < runs[i]) return this.mask.weights[runs[i + 1]];
    }
    return 0;
  }

  partOf(token) { return this.mask.parts.find((part) => token < part.end); }

  draw() {
    const place = fitted(this.canvas, (width) => width);
    // Room beside the bands: for tokens where cells are large enough, else for names of parts.
    const tokens = this.labelled(place.width) ? Math.min(110, place.width * 0.24) : 0;
    const names = place.width >= 480 ? 84 : 0;
    const room = { left: tokens || names, top: tokens };
    const band = 7, edge = band + 2;
    this.map = {
      left: edge + room.left, top: edge + room.top,
      width: place.width - edge - room.left, height: place.height - edge - room.top,
    };
    this.theme = theme();
    place.context.clearRect(0, 0, place.width, place.height);
    this.drawHeat(place);
    this.drawBands(place.context, band, room);
    this.drawLines(place.context);
    place.context.font = "11px system-ui, 'DejaVu Sans', sans-serif";
    place.context.fillStyle = this.theme.ink;
    place.context.textBaseline = "middle";
    place.context.textAlign = "right";
    place.context.direction = "ltr";
    if (tokens) this.drawTokens(place.context, tokens);
    else if (names) this.drawNames(place.context, names);
    for (const one of this.shades) {
      one.style.background = css(colourOf(this.theme.heat, shadeOf(Number(one.dataset.weight))));
    }
  }

  labelled(width) {
    const most = Math.max(this.rows.end - this.rows.start, this.columns.end - this.columns.start);
    return this.spans.length > 0 && (width * 0.76 - 10) / most >= SHORTEST_LABELLED;
  }

  // Each pixel is the mean of what lies in it: no token is left out, however many there are.
  drawHeat({ context, ratio }) {
    const { map, rows, columns } = this;
    const width = Math.max(1, Math.round(map.width * ratio));
    const height = Math.max(1, Math.round(map.height * ratio));
    const across = width / (columns.end - columns.start);
    const down = height / (rows.end - rows.start);
    const shades = this.mask.weights.map(shadeOf);
    const sums = new Float32Array(width * height), line = new Float32Array(width);
    for (let row = rows.start; row < rows.end; row++) {
      line.fill(0);
      const runs = this.mask.rows[row];
      for (let i = 0, from = 0; i < runs.length; from = runs[i], i += 2) {
        const shade = shades[runs[i + 1]];
        const a = (Math.max(from, columns.start) - columns.start) * across;
        const b = (Math.min(runs[i], columns.end) - columns.start) * across;
        if (shade === 0 || b <= a) continue;
        for (let x = Math.floor(a); x < b && x < width; x++) {
          line[x] += shade * (Math.min(b, x + 1) - Math.max(a, x));
        }
      }
      const a = (row - rows.start) * down, b = a + down;
      for (let y = Math.floor(a); y < b && y < height; y++) {
        const share = Math.min(b, y + 1) - Math.max(a, y);
        for (let x = 0; x < width; x++) sums[y * width + x] += share * line[x];
      }
    }
    const steps = Array.from({ length: 256 }, (_, i) => colourOf(this.theme.heat, i / 255));
    const image = new ImageData(width, height);
    for (let i = 0; i < sums.length; i++) {
      const rgb = steps[Math.min(255, Math.round(sums[i] * 255))];
      image.data.set(rgb, 4 * i);
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, Math.round(map.left * ratio), Math.round(map.top * ratio));
  }

  x(column) {
    const { start, end } = this.columns;
    return this.map.left + ((column - start) / (end - start)) * this.map.width;
  }

  y(row) {
    const { start, end } = this.rows;
    return this.map.top + ((row - start) / (end - start)) * this.map.height;
  }

  drawBands(context, band, room) {
    const { rows, columns } = this;
    for (const part of this.mask.parts) {
      context.fillStyle = this.theme.strong(part.hue, part.kind === "segment" ? 58 : 8);
      const a = Math.max(part.start, columns.start), b = Math.min(part.end, columns.end);
      if (a < b) context.fillRect(this.x(a), room.top, this.x(b) - this.x(a), band);
      const c = Math.max(part.start, rows.start), d = Math.min(part.end, rows.end);
      if (c < d) context.fillRect(room.left, this.y(c), band, this.y(d) - this.y(c));
    }
  }

  drawLines(context) {
    const { map, rows, columns } = this;
    context.lineWidth = 1;
    const stroke = (alpha, points, where) => {
      context.globalAlpha = alpha;
      context.strokeStyle = this.theme.ink;
      context.beginPath();
      for (const point of points) where(point);
      context.stroke();
      context.globalAlpha = 1;
    };
    const vertical = (column) => {
      const x = Math.round(this.x(column)) + 0.5;
      context.moveTo(x, map.top);
      context.lineTo(x, map.top + map.height);
    };
    const horizontal = (row) => {
      const y = Math.round(this.y(row)) + 0.5;
      context.moveTo(map.left, y);
      context.lineTo(map.left + map.width, y);
    };
    const starts = this.mask.parts.map((part) => part.start);
    const inside = ({ start, end }) => starts.filter((token) => token > start && token < end);
    stroke(0.3, inside(columns), vertical);
    stroke(0.3, inside(rows), horizontal);
    const all = ({ start, end }) => Array.from({ length: end - start - 1 }, (_, i) => start + i + 1);
    if (map.width / (columns.end - columns.start) >= 8) stroke(0.1, all(columns), vertical);
    if (map.height / (rows.end - rows.start) >= 8) stroke(0.1, all(rows), horizontal);
  }

  // The names of parts, moved so far that none lies upon another.
  drawNames(context, room) {
    const { map, rows } = this, height = 13;
    const shown = this.mask.parts.filter((part) => part.end > rows.start && part.start < rows.end);
    const middle = (part) =>
      (this.y(Math.max(part.start, rows.start)) + this.y(Math.min(part.end, rows.end))) / 2;
    const places = shown.map(middle);
    for (let i = 1; i < places.length; i++) places[i] = Math.max(places[i], places[i - 1] + height);
    let lowest = map.top + map.height - height / 2;
    for (let i = places.length - 1; i >= 0; i--, lowest -= height) {
      lowest = places[i] = Math.min(places[i], lowest);
    }
    shown.forEach((part, i) => context.fillText(part.name, room - 5, places[i]));
  }

  drawTokens(context, room) {
    const { rows, columns } = this;
    const cut = (token) => {
      const whole = this.textOf(token), text = whole.trim() || (whole && "\u2423");
      let kept = text;
      while (kept && context.measureText(`${kept}\u2026`).width > room - 6) {
        kept = [...kept].slice(0, -1).join("");
      }
      return kept === text ? text : `${kept}\u2026`;
    };
    for (let row = rows.start; row < rows.end; row++) {
      context.fillText(cut(row), room - 4, (this.y(row) + this.y(row + 1)) / 2);
    }
    for (let column = columns.start; column < columns.end; column++) {
      context.save();
      context.translate((this.x(column) + this.x(column + 1)) / 2, room - 4);
      context.rotate(Math.PI / 2);
      context.fillText(cut(column), 0, 0);
      context.restore();
    }
  }

  textOf(token) { return this.spans[token]?.textContent ?? ""; }

  cellAt(event) {
    const [x, y] = pointOn(this.canvas, event);
    const { map, rows, columns } = this;
    const across = (x - map.left) / map.width, down = (y - map.top) / map.height;
    const within = (share, { start, end }) =>
      Math.min(end - 1, Math.max(start, start + Math.floor(share * (end - start))));
    // Left of the map or above it are the bands: there a click is meant for rows or columns alone.
    return {
      row: within(down, rows), column: within(across, columns),
      inRows: across < 0 && down >= 0, inColumns: down < 0 && across >= 0,
      inMap: across >= 0 && down >= 0 && across <= 1 && down <= 1,
    };
  }

  click(event) { this.choose(this.cellAt(event)); }

  choose(cell) {
    if (this.isZoomed()) {
      this.whole();
    } else if (cell.inRows) {
      this.zoom(this.partOf(cell.row), this.everything);
    } else if (cell.inColumns) {
      this.zoom(this.everything, this.partOf(cell.column));
    } else if (cell.inMap) {
      this.zoom(this.partOf(cell.row), this.partOf(cell.column));
    }
    this.draw();
  }

  isZoomed() {
    return [this.rows, this.columns].some(({ start, end }) => start !== 0 || end !== this.size);
  }

  // To another cell by keys, with a frame round it.
  go(row, column) {
    const within = (token, { start, end }) => Math.min(end - 1, Math.max(start, token));
    this.at = { row: within(row, this.rows), column: within(column, this.columns), inMap: true };
    this.draw();
    const x = this.x(this.at.column), y = this.y(this.at.row);
    const context = this.canvas.getContext("2d");
    context.lineWidth = 2;
    context.strokeStyle = this.theme.strong(0, 90);
    context.strokeRect(x - 1, y - 1, this.x(this.at.column + 1) - x + 2, this.y(this.at.row + 1) - y + 2);
    this.tell(this.at);
  }

  point(event) { this.tell(this.cellAt(event)); }

  tell(cell) {
    this.leave();
    if (!cell.inMap) return;
    const weight = this.weight(cell.row, cell.column);
    this.readout.replaceChildren(
      ...this.described(cell.row), weight > 0 ? " reads " : " may not read ",
      ...this.described(cell.column),
      weight > 0 ? `, weight ${Number(weight.toPrecision(3))}` : "",
    );
    this.mark(cell.row, "reads");
    this.mark(cell.column, "read");
  }

  described(token) {
    const part = this.partOf(token), text = document.createElement("bdi");
    text.textContent = this.textOf(token).replaceAll("\n", "");
    const where = `${part.name}, column ${token}, position ${part.position + token - part.start}`;
    return text.textContent ? [text, ` (${where})`] : [where];
  }

  mark(token, name) {
    let at = Math.min(token, this.spans.length - 1);
    if (token >= this.spans.length) return;
    // The tokens of one character have their text at the first of them.
    while (at > 0 && !this.spans[at].textContent) at--;
    this.spans[at].classList.add(name);
  }

  leave() {
    this.readout.textContent = this.hint;
    for (const name of ["reads", "read"]) {
      for (const span of this.spans.filter((one) => one.classList.contains(name))) {
        span.classList.remove(name);
      }
    }
  }
}

class BlockGrid {
  constructor(section) {
    this.table = data.blocks[Number(section.dataset.number)];
    this.canvas = section.querySelector("canvas");
    this.readout = section.querySelector(".readout");
    this.hint = this.readout.textContent;
    this.shades = [...section.querySelectorAll(".shade")];
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => { this.readout.textContent = this.hint; });
  }

  draw() {
    const { states } = this.table, rows = states.length, columns = states[0].length;
    const most = Math.max(rows, columns);
    const cell = (width) => Math.min(width / most, LARGEST_BLOCK);
    const place = fitted(this.canvas, (width) => cell(width) * rows);
    const heat = theme().heat, colours = [heat[0], heat[1], heat[3]].map(css);
    this.cell = cell(place.width);
    const gap = this.cell > 12 ? 1.5 : 0.5;
    place.context.clearRect(0, 0, place.width, place.height);
    states.forEach((line, row) => [...line].forEach((state, column) => {
      place.context.fillStyle = colours[Number(state)];
      place.context.fillRect(
        column * this.cell, row * this.cell, this.cell - gap, this.cell - gap,
      );
    }));
    for (const one of this.shades) one.style.background = colours[Number(one.dataset.state)];
  }

  point(event) {
    const [x, y] = pointOn(this.canvas, event);
    const { states, size, names } = this.table;
    const row = Math.floor(y / this.cell), column = Math.floor(x / this.cell);
    const state = states[row]?.[column];
    if (state === undefined) return;
    const range = (block, length) => `${block * length} to ${(block + 1) * length - 1}`;
    this.readout.textContent =
      `Queries ${range(row, size[0])}, keys ${range(column, size[1])}: ${names[Number(state)]}`;
  }
}

const drawn = [
  ...[...document.querySelectorAll("section.mask")].map((section) => new MaskMap(section)),
  ...[...document.querySelectorAll("section.blocks")].map((section) => new BlockGrid(section)),
];
const drawAll = () => drawn.forEach((one) => one.draw());
drawAll();
dark.addEventListener("change", drawAll);
let waiting = 0;
window.addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(drawAll, 80);
});
