// The view of the scene: an orbit that the pointer controls, or the camera of the video.

/** Multiply two 4 x 4 matrices, column by column. */
function times(a, b) {
  return Float32Array.from({ length: 16 }, (_, n) => {
    const [column, row] = [4 * Math.floor(n / 4), n % 4];
    return [0, 1, 2, 3].reduce((sum, k) => sum + a[4 * k + row] * b[column + k], 0);
  });
}

const [NEAR, FAR] = [0.05, 200];

/** Return a projection with the scales `x` and `y`, shifted by `dx`, `dy`. */
function projection(x, y, dx, dy) {
  const depth = FAR - NEAR;
  return [x, 0, 0, 0, 0, y, 0, 0, dx, dy, -(FAR + NEAR) / depth, -1, 0, 0, (-2 * FAR * NEAR) / depth, 0];
}

/** Return the matrix of a camera at `eye` with the axes `rows` (right, up, back). */
function lookFrom(eye, rows) {
  const t = rows.map((row) => -row.reduce((sum, number, axis) => sum + number * eye[axis], 0));
  const [right, up, back] = rows;
  return [0, 1, 2].flatMap((axis) => [right[axis], up[axis], back[axis], 0]).concat([...t, 1]);
}

/** Return the position of the video's camera in a row of its data, and its axes (right, up, back). */
function cameraPose({ rotations, t }, row) {
  const at = Math.min(row, t.length / 3 - 1);
  const R = matrixOf(rotations, 4 * at);
  const p = t.subarray(3 * at, 3 * at + 3);
  const eye = [0, 1, 2].map((axis) => -(R[axis] * p[0] + R[3 + axis] * p[1] + R[6 + axis] * p[2]));
  const [x, y, z] = [R.slice(0, 3), R.slice(3, 6), R.slice(6)];
  return { eye, rows: [x, y.map((n) => -n), z.map((n) => -n)] };
}

/** Return the view of the video's camera, with the whole image fitted into a canvas of that aspect ratio. */
function videoView(camera, row, aspect, centre) {
  const { eye, rows } = cameraPose(camera, row);
  const [width, height] = camera.size;
  const fit = [Math.min(1, width / height / aspect), Math.min(1, (aspect * height) / width)];
  const [fx, fy] = camera.focal;
  const [cx, cy] = camera.center.map((number) => number + 0.5);
  const lens = projection(
    (2 * fx * fit[0]) / width, (2 * fy * fit[1]) / height, (1 - (2 * cx) / width) * fit[0], ((2 * cy) / height - 1) * fit[1],
  );
  return { matrix: times(lens, lookFrom(eye, rows)), eye, centre: [centre[0], centre[2]] };
}

/** Return the edges of the view frustum of the video's camera, `depth` metres deep. */
function frustumLines(camera, row, depth = 0.35) {
  const { eye, rows } = cameraPose(camera, row);
  const [width, height] = camera.size;
  const corners = [[0, 0], [width, 0], [width, height], [0, height]].map(([u, v]) => {
    const ray = [(u - camera.center[0]) / camera.focal[0], (camera.center[1] - v) / camera.focal[1], -1];
    return eye.map((number, axis) => number + depth * ray.reduce((sum, x, k) => sum + x * rows[k][axis], 0));
  });
  return new Float32Array(corners.flatMap((corner, n) => [...eye, ...corner, ...corner, ...corners[(n + 1) % 4]]));
}

/** Return the segments of a path: a position for each frame, null where there is none. */
function pathLines(positions) {
  return new Float32Array(positions.flatMap((p, n) => (n && p && positions[n - 1] ? [...positions[n - 1], ...p] : [])));
}

/** Create an orbit around a moving point: drag rotates; right button, Shift or two pointers pan; wheel or pinch zooms. */
function makeOrbit(canvas, start, changed) {
  const orbit = { ...start, offset: [0, 0, 0] };
  const pointers = new Map();
  const axes = () => {
    const [s, c, up, level] = [Math.sin(orbit.azimuth), Math.cos(orbit.azimuth), Math.sin(orbit.height), Math.cos(orbit.height)];
    return [[c, 0, -s], [-s * up, level, -c * up], [s * level, up, c * level]];
  };
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y) || 1;
  };
  const bounded = (distance) => Math.min(Math.max(distance, 0.5), 60);
  const zoom = (factor) => (orbit.distance = bounded(orbit.distance * factor));
  const shift = (dx, dy) => {
    const [right, up] = axes();
    const metres = (orbit.distance * 0.63) / canvas.clientHeight;
    orbit.offset = orbit.offset.map((number, axis) => number + metres * (up[axis] * dy - right[axis] * dx));
  };
  const rotate = (dx, dy) => {
    orbit.azimuth -= dx * 0.008;
    orbit.height = Math.min(Math.max(orbit.height + dy * 0.008, 0.02), 1.55);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before.x, event.clientY - before.y];
    const distanceBefore = pointers.size === 2 && spread();
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (distanceBefore) {
      zoom(distanceBefore / spread());
      shift(dx / 2, dy / 2);
    } else if (event.buttons & 2 || event.shiftKey) shift(dx, dy);
    else rotate(dx, dy);
    changed();
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(Math.min(Math.max(event.deltaY, -200), 200) * 0.0015));
    changed();
  }, { passive: false });
  /** Look down on positions, all of which are seen, while the target stays where it is. */
  orbit.lookDown = (positions, target) => {
    const [low, high] = [Math.min, Math.max].map((end) => [0, 1, 2].map((axis) => positions.map((p) => p[axis]).reduce((p, q) => end(p, q))));
    const span = Math.max(high[0] - low[0], high[2] - low[2]) + 1;
    const offset = target.map((number, axis) => (low[axis] + high[axis]) / 2 - number);
    Object.assign(orbit, { azimuth: 0, height: 1.55, distance: bounded(high[1] - low[1] + span / (2 * Math.tan(0.3))), offset });
  };
  orbit.view = (aspect, target) => {
    const centre = target.map((number, axis) => number + orbit.offset[axis]);
    const rows = axes();
    const eye = centre.map((number, axis) => number + orbit.distance * rows[2][axis]);
    const lens = 1 / Math.tan(0.3);
    const lenses = aspect < 1 ? [lens, lens * aspect] : [lens / aspect, lens];
    return { matrix: times(projection(...lenses, 0, 0), lookFrom(eye, rows)), eye, centre: [centre[0], centre[2]] };
  };
  return orbit;
}
