// Curves over the frames, and the strip above the slider: frames with each person, low-confidence frames marked.

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const GUTTER = 38;

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Resize a canvas to the pixels of the screen and clear it. Returns its context, width and height. */
function clearedCanvas(canvas) {
  const [width, height, ratio] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio];
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return { pen, width, height };
}

/** Return about three round numbers between `low` and `high`. */
function ticks(low, high) {
  const rough = (high - low) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, n) => +((first + n) * step).toPrecision(6));
}

/** Return the time of each frame as a fraction of the time from the first to the last frame. */
function fractionsOf(times) {
  const length = times[times.length - 1] - times[0] || 1;
  return times.map((time) => (time - times[0]) / length);
}

/** Return the runs of equal values: [value, first, last]. */
function runsOf(values) {
  const runs = [];
  values.forEach((value, at) => {
    if (at && value === values[at - 1]) runs[runs.length - 1][2] = at;
    else runs.push([value, at, at]);
  });
  return runs;
}

/** Return the fractions that the frames from first to last cover, up to the middle between neighbours. */
function spanOf(fractions, first, last) {
  const middle = (frame) => (fractions[frame - 1] + fractions[frame]) / 2;
  return [first ? middle(first) : 0, last + 1 < fractions.length ? middle(last + 1) : 1];
}

/** Create a plot with its legend. `show({series, states})` draws `series` [{name, values, colour, faint}] over the
 * frames and marks low-confidence frames; `range` [low, high] is the smallest range of the axis; `seek(fraction)` is
 * called when the user points at the plot. */
function makeCurves(host, { title, unit, digits, range, fractions, seek }) {
  const figure = element("figure", "curves");
  const caption = element("figcaption", "");
  const legend = element("span", "legend");
  const plot = element("div", "plot");
  const canvas = element("canvas", "");
  const cursor = element("i", "cursor");
  caption.append(element("b", "", title), legend);
  plot.append(canvas, cursor);
  figure.append(caption, plot);
  host.append(figure);
  let [series, states, numbers] = [[], [], []];

  const point = (event) => {
    const { left, width } = plot.getBoundingClientRect();
    seek(Math.min(Math.max((event.clientX - left - GUTTER) / (width - GUTTER), 0), 1));
  };
  plot.addEventListener("pointerdown", (event) => {
    plot.setPointerCapture(event.pointerId);
    point(event);
  });
  plot.addEventListener("pointermove", (event) => event.buttons && point(event));

  function draw() {
    const { pen, width, height } = clearedCanvas(canvas);
    let [low, high] = range;
    for (const { values } of series) {
      for (const value of values) if (value > high) high = value;
    }
    const x = (fraction) => GUTTER + fraction * (width - GUTTER - 1);
    const y = (value) => height - 5 - ((value - low) / (high - low)) * (height - 10);
    pen.fillStyle = style("unreliable");
    for (const [state, first, last] of runsOf(states)) {
      const [from, to] = spanOf(fractions, first, last).map(x);
      if (state === "unreliable") pen.fillRect(from, 0, Math.max(to - from, 1), height);
    }
    pen.font = `11px ${style("font")}`;
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const tick of ticks(low, high)) {
      pen.fillStyle = style("rule");
      pen.fillRect(GUTTER, Math.round(y(tick)), width, 1);
      pen.fillStyle = style("muted");
      pen.fillText(tick, GUTTER - 8, y(tick));
    }
    pen.lineJoin = "round";
    for (const { values, colour, faint } of series) {
      pen.strokeStyle = colour;
      pen.lineWidth = faint ? 1 : 1.6;
      pen.globalAlpha = faint ? 0.55 : 1;
      pen.beginPath();
      let drawing = false;
      values.forEach((value, frame) => {
        if (Number.isNaN(value)) drawing = false;
        else if (drawing) pen.lineTo(x(fractions[frame]), y(value));
        else {
          pen.moveTo(x(fractions[frame]), y(value));
          pen.lineTo(x(fractions[frame]) + 1, y(value));
          drawing = true;
        }
      });
      pen.stroke();
      pen.globalAlpha = 1;
    }
  }
  new ResizeObserver(draw).observe(plot);

  return {
    draw,
    show(shown) {
      ({ series, states } = shown);
      numbers = series.map(({ name, colour }) => {
        const key = element("span", "key", `${name} `);
        const number = element("span", "number");
        key.style.setProperty("--key", colour);
        key.append(number);
        return number;
      });
      legend.replaceChildren(...numbers.map((number) => number.parentElement));
      draw();
    },
    at(frame) {
      cursor.style.left = `calc(${GUTTER}px + ${fractions[frame]} * (100% - ${GUTTER + 1}px))`;
      series.forEach(({ values }, n) => {
        numbers[n].textContent = Number.isNaN(values[frame]) ? "–" : values[frame].toFixed(digits) + unit;
      });
    },
  };
}

/** Draw for each person a bar over their frames: paler where interpolated, marked where confidence is low. */
function drawStrip(canvas, rows, fractions) {
  canvas.style.height = `${rows.length * 7 - 1}px`;
  const { pen, width } = clearedCanvas(canvas);
  rows.forEach(({ colour, states }, n) => {
    for (const [state, first, last] of runsOf(states)) {
      if (!state) continue;
      const [from, to] = spanOf(fractions, first, last).map((fraction) => fraction * width);
      pen.fillStyle = state === "unreliable" ? style("alarm") : colour;
      pen.globalAlpha = state === "filled" ? 0.35 : 1;
      pen.fillRect(from, n * 7, Math.max(to - from, 1), 6);
    }
  });
}
