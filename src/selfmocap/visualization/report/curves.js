// Curves over the frames, and the strip above the slider that shows who is there and what is not to be trusted.

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const GUTTER = 38;

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** A canvas in the pixels of the screen, cleared: its context, width and height. */
function clearedCanvas(canvas) {
  const [width, height, ratio] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio];
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return { pen, width, height };
}

/** About three round numbers between two. */
function ticks(low, high) {
  const rough = (high - low) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, n) => +((first + n) * step).toPrecision(6));
}

/** The share of the way from the first to the last frame at which each frame stands. */
function sharesOf(times) {
  const length = times[times.length - 1] - times[0] || 1;
  return times.map((time) => (time - times[0]) / length);
}

/** The runs of equal values: [value, first, last]. */
function runsOf(values) {
  const runs = [];
  values.forEach((value, at) => {
    if (at && value === values[at - 1]) runs[runs.length - 1][2] = at;
    else runs.push([value, at, at]);
  });
  return runs;
}

/** Between which shares of the way the frames from first to last stand: to the middle between neighbours. */
function spanOf(shares, first, last) {
  const middle = (frame) => (shares[frame - 1] + shares[frame]) / 2;
  return [first ? middle(first) : 0, last + 1 < shares.length ? middle(last + 1) : 1];
}

/** One plot with its legend. `show({series, states})` draws `series` [{name, values, colour, faint}] over the frames
 * and marks those in doubt; `range` [low, high] is widened to hold them; `seek(share)` is called where the pointer points. */
function makeCurves(host, { title, unit, digits, range, shares, seek }) {
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
    const x = (share) => GUTTER + share * (width - GUTTER - 1);
    const y = (value) => height - 5 - ((value - low) / (high - low)) * (height - 10);
    pen.fillStyle = style("doubt");
    for (const [state, first, last] of runsOf(states)) {
      const [from, to] = spanOf(shares, first, last).map(x);
      if (state === "doubted") pen.fillRect(from, 0, Math.max(to - from, 1), height);
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
        else if (drawing) pen.lineTo(x(shares[frame]), y(value));
        else {
          pen.moveTo(x(shares[frame]), y(value));
          pen.lineTo(x(shares[frame]) + 1, y(value));
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
      cursor.style.left = `calc(${GUTTER}px + ${shares[frame]} * (100% - ${GUTTER + 1}px))`;
      series.forEach(({ values }, n) => {
        numbers[n].textContent = Number.isNaN(values[frame]) ? "–" : values[frame].toFixed(digits) + unit;
      });
    },
  };
}

/** Draws for each person a bar over the frames in which it is seen: paler where filled in, marked where in doubt. */
function drawStrip(canvas, rows, shares) {
  canvas.style.height = `${rows.length * 7 - 1}px`;
  const { pen, width } = clearedCanvas(canvas);
  rows.forEach(({ colour, states }, n) => {
    for (const [state, first, last] of runsOf(states)) {
      if (!state) continue;
      const [from, to] = spanOf(shares, first, last).map((share) => share * width);
      pen.fillStyle = state === "doubted" ? style("alarm") : colour;
      pen.globalAlpha = state === "filled" ? 0.35 : 1;
      pen.fillRect(from, n * 7, Math.max(to - from, 1), 6);
    }
  });
}
