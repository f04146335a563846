"use strict";

// tables: a click on a head sorts by the numbers behind the cells, or by their texts

function sortTable(head) {
  const table = head.closest("table");
  const column = [...head.parentNode.children].indexOf(head);
  const isUp = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
  const key = (row) => {
    const cell = row.cells[column];
    if (cell.textContent === "–") return null;
    return cell.dataset.value ? Number(cell.dataset.value) : cell.textContent;
  };
  const compare = (a, b) => {
    const [one, other] = [key(a), key(b)];
    if (one === null || other === null) return (one === null) - (other === null);
    const order = typeof one === "number" && typeof other === "number"
      ? one - other : String(one).localeCompare(String(other), undefined, { numeric: true });
    return isUp ? order : -order;
  };
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort(compare));
}

document.addEventListener("click", (event) => {
  const head = event.target.closest("th");
  if (head && event.target.closest("button")) sortTable(head);
});

// slice viewer

const viewer = document.getElementById("viewer");

class Viewer {
  constructor(root) {
    this.root = root;
    this.part = (name) => root.querySelector(`[data-part=${name}]`);
    this.names = JSON.parse(document.getElementById("case-names").textContent);
    this.level = 0;
    this.lesion = null;
    this.listen();
    this.open(0);
  }

  listen() {
    const on = (name, event, action) => this.part(name).addEventListener(event, action);
    on("case", "change", () => this.open(this.part("case").selectedIndex));
    on("previous", "click", () => this.step(-1));
    on("next", "click", () => this.step(1));
    on("method", "change", () => this.list());
    on("rule", "change", () => this.list());
    on("slice", "input", () => this.show(Number(this.part("slice").value)));
    for (const name of ["centre", "width", "truth", "found"]) on(name, "input", () => this.draw());
    for (const canvas of this.root.querySelectorAll("canvas")) this.listenTo(canvas);
    this.root.addEventListener("keydown", (event) => this.press(event));
  }

  listenTo(canvas) {
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.show(this.level - Math.sign(event.deltaY));
    }, { passive: false });
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      from = { y: event.clientY, level: this.level };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (from) this.show(from.level + Math.round((from.y - event.clientY) / 6));
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { from = null; });
  }

  press(event) {
    if (event.target.matches("select, input[type=range]") && event.key.startsWith("Arrow")) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const toggle = (name) => { this.part(name).checked = !this.part(name).checked; this.draw(); };
    const actions = {
      ArrowUp: () => this.show(this.level + 1),
      ArrowDown: () => this.show(this.level - 1),
      PageUp: () => this.show(this.level + 5),
      PageDown: () => this.show(this.level - 5),
      n: () => this.stepLesion(1),
      p: () => this.stepLesion(-1),
      t: () => toggle("truth"),
      f: () => toggle("found"),
      "[": () => this.step(-1),
      "]": () => this.step(1),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }

  step(by) {
    const count = this.names.length;
    this.open((this.part("case").selectedIndex + by + count) % count);
  }

  open(index) {
    this.part("case").selectedIndex = index;
    this.data = JSON.parse(document.getElementById(`case-${index}`).textContent);
    this.pictures = [null, null];
    this.data.visits.forEach((visit, which) => {
      const caption = this.part(`visit${which + 1}`).nextElementSibling;
      caption.textContent = `visit ${which + 1}${visit ? "" : ": no scan on the grid of the masks"}`;
      if (visit) this.load(visit, which, this.data);
    });
    const method = this.part("method");
    const chosen = method.value;
    method.replaceChildren(...this.data.methods.map((one) => new Option(one.name, one.name)));
    if (this.data.methods.some((one) => one.name === chosen)) method.value = chosen;
    this.part("slice").max = this.data.size[2] - 1;
    this.shapeCanvases();
    this.list();
    const first = this.rows()[0];
    if (first) this.jump(first); else this.show(Math.floor(this.data.size[2] / 2));
  }

  load(visit, which, data) {
    const image = new Image();
    image.onload = () => {
      if (data !== this.data) return;
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      this.pictures[which] = context;
      this.draw();
    };
    image.src = visit.source;
  }

  shapeCanvases() {
    const [width, height] = this.data.size;
    const [x, y] = this.data.spacing;
    this.scale = Math.max(1, Math.min(6, 900 / Math.max(width, height * y / x)));
    for (const canvas of this.root.querySelectorAll("canvas")) {
      canvas.width = Math.round(width * this.scale);
      canvas.height = Math.round(height * y / x * this.scale);
    }
  }

  method() { return this.data.methods[this.part("method").selectedIndex]; }

  rows() { return this.method().lesions.filter((row) => row.rule === this.part("rule").value); }

  list() {
    const rows = this.rows();
    const shorten = (text) => text === "" ? "–" : Number(text).toFixed(3);
    const body = this.part("rows");
    body.replaceChildren(...rows.map((row) => {
      const line = document.createElement("tr");
      const jump = document.createElement("button");
      jump.type = "button";
      jump.className = "jump";
      jump.textContent = (row.side === "truth" ? "T" : "P") + row.id;
      const cells = [
        [jump, row.id], [row.side, ""], [row.outcome, ""],
        [Number(row.volume_mm3).toFixed(1), row.volume_mm3], [row.partners || "–", ""],
        [shorten(row.peak_probability), row.peak_probability],
        [shorten(row.mean_probability), row.mean_probability],
      ];
      cells.forEach(([content, value], index) => {
        const cell = line.insertCell();
        cell.append(content);
        if (value !== "") cell.dataset.value = value;
        if (index < 3) cell.className = "text";
      });
      line.addEventListener("click", () => this.jump(row));
      row.line = line;
      return line;
    }));
    this.part("summary").textContent = this.data.truth ? this.scored(rows) : this.counted(rows);
    this.lesion = null;
    this.draw();
  }

  counted(rows) {
    const marked = rows.length === 1 ? "1 new lesion is" : `${rows.length || "No"} new lesions are`;
    return `${marked} marked.`;
  }

  scored(rows) {
    const hits = (side) => rows.filter((row) => row.side === side && row.outcome === "hit").length;
    const all = (side) => rows.filter((row) => row.side === side).length;
    return rows.length
      ? `${hits("truth")} of ${all("truth")} new lesions found, `
        + `${all("predicted") - hits("predicted")} of ${all("predicted")} predicted are false.`
      : "Neither truth nor prediction holds a lesion.";
  }

  stepLesion(by) {
    const lines = [...this.part("rows").rows];
    if (!lines.length) return;
    const at = this.lesion ? lines.indexOf(this.lesion.line) : (by > 0 ? -1 : 0);
    const line = lines[(at + by + lines.length) % lines.length];
    this.jump(this.rows().find((row) => row.line === line));
  }

  jump(row) {
    this.lesion = row;
    for (const line of this.part("rows").rows) line.setAttribute("aria-selected", line === row.line);
    const frame = this.part("rows").closest(".scroll");
    const top = row.line.offsetTop;
    if (top < frame.scrollTop || top > frame.scrollTop + frame.clientHeight - 40) frame.scrollTop = top - 60;
    this.show(row.at[2]);
  }

  show(level) {
    this.level = Math.max(0, Math.min(this.data.size[2] - 1, level));
    this.part("slice").value = this.level;
    this.part("level").textContent = `${this.level + 1} / ${this.data.size[2]}`;
    this.draw();
  }

  draw() {
    ["visit1", "visit2"].forEach((name, which) => {
      const canvas = this.part(name);
      const context = canvas.getContext("2d");
      context.fillStyle = "#000";
      context.fillRect(0, 0, canvas.width, canvas.height);
      if (this.pictures[which]) this.drawScan(context, canvas, this.pictures[which], this.data.visits[which]);
      if (this.data.truth && this.part("truth").checked) this.outline(context, canvas, this.data.truth, "#56B4E9", false);
      if (this.part("found").checked) this.outline(context, canvas, this.method().mask, "#E69F00", true);
      if (this.lesion) this.ring(context, canvas);
      this.letter(context, canvas);
    });
  }

  drawScan(context, canvas, picture, visit) {
    const left = (this.level % visit.columns) * visit.width;
    const top = Math.floor(this.level / visit.columns) * visit.height;
    const tile = picture.getImageData(left, top, visit.width, visit.height);
    const centre = Number(this.part("centre").value);
    const width = Number(this.part("width").value);
    const table = new Uint8ClampedArray(256);
    for (let value = 0; value < 256; value += 1) table[value] = ((value - centre) / width + 0.5) * 255;
    for (let index = 0; index < tile.data.length; index += 1) {
      if (index % 4 !== 3) tile.data[index] = table[tile.data[index]];
    }
    const small = document.createElement("canvas");
    [small.width, small.height] = [visit.width, visit.height];
    small.getContext("2d").putImageData(tile, 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, canvas.width, canvas.height);
  }

  outline(context, canvas, slices, colour, isDashed) {
    const runs = slices[String(this.level)];
    if (!runs) return;
    const [width, height] = this.data.size;
    const inside = new Uint8Array(width * height);
    for (let index = 0; index < runs.length; index += 2) inside.fill(1, runs[index], runs[index] + runs[index + 1]);
    const [x, y] = [canvas.width / width, canvas.height / height];
    const at = (column, row) =>
      column >= 0 && row >= 0 && column < width && row < height && inside[row * width + column];
    const line = (a, b, c, d) => {
      // the outline is drawn edge by edge: a dashed one leaves out every third
      if (isDashed && (a + b) % 3 === 0) return;
      context.moveTo(a * x, b * y);
      context.lineTo(c * x, d * y);
    };
    context.beginPath();
    for (let row = 0; row <= height; row += 1) {
      for (let column = 0; column <= width; column += 1) {
        const here = at(column, row);
        if (Boolean(here) !== Boolean(at(column, row - 1))) line(column, row, column + 1, row);
        if (Boolean(here) !== Boolean(at(column - 1, row))) line(column, row, column, row + 1);
      }
    }
    context.strokeStyle = colour;
    context.lineWidth = 2.5;
    context.stroke();
  }

  ring(context, canvas) {
    const [column, row, level] = this.lesion.at;
    const radiusMm = Math.cbrt(0.24 * Number(this.lesion.volume_mm3)) + 6;
    if (Math.abs(level - this.level) * this.data.spacing[2] > radiusMm) return;
    const [width, height] = this.data.size;
    const centre = [(column + 0.5) * canvas.width / width, (row + 0.5) * canvas.height / height];
    context.beginPath();
    context.arc(...centre, radiusMm / this.data.spacing[0] * this.scale, 0, 2 * Math.PI);
    context.strokeStyle = "#fff";
    context.lineWidth = 1.5;
    context.setLineDash([2, 4]);
    context.stroke();
    context.setLineDash([]);
  }

  letter(context, canvas) {
    context.fillStyle = "#fff";
    context.font = "20px system-ui, sans-serif";
    context.fillText("L", 8, canvas.height / 2);
    context.fillText("R", canvas.width - 24, canvas.height / 2);
  }
}

if (viewer) {
  const shown = new Viewer(viewer);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-case]");
    if (!button) return;
    shown.open(shown.names.indexOf(button.dataset.case));
    viewer.scrollIntoView();
    viewer.focus({ preventScroll: true });
  });
}
