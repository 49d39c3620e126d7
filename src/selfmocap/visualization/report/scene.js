// Draw the people in 3D with WebGL 2: skinned on the graphics card, on a ground with a line every metre if there is one.

const SKIN_VERTEX = `#version 300 es
precision highp float;
uniform vec4 bones[3 * JOINTS];
uniform float poseOffsets[POSE_OFFSETS];
uniform highp sampler2D shapes;
uniform mat4 view;
uniform vec3 light;
uniform bool shadow;
uniform vec3 tints[5];
in float part;
in vec3 rest, normal;
in uvec4 joints;
in vec4 weights;
out vec3 p_world, n_world, tint;
void main() {
  tint = tints[int(part)];
  vec4 rows[3] = vec4[3](vec4(0), vec4(0), vec4(0));
  for (int k = 0; k < 4; k++)
    for (int axis = 0; axis < 3; axis++) rows[axis] += weights[k] / dot(weights, vec4(1)) * bones[3 * int(joints[k]) + axis];
  vec4 p = vec4(rest, 1);
  for (int n = 0; n < POSE_OFFSETS; n++) {
    int at = gl_VertexID * POSE_OFFSETS + n;
    p.xyz += poseOffsets[n] * texelFetch(shapes, ivec2(at % WIDE, at / WIDE), 0).xyz;
  }
  p_world = vec3(dot(rows[0], p), dot(rows[1], p), dot(rows[2], p));
  n_world = vec3(dot(rows[0].xyz, normal), dot(rows[1].xyz, normal), dot(rows[2].xyz, normal));
  if (shadow) p_world = vec3(p_world.xz - light.xz / light.y * max(p_world.y, 0.0), 0).xzy;
  gl_Position = view * vec4(p_world, 1);
}`;

const SKIN_FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 light, eye;
uniform bool shadow;
in vec3 p_world, n_world, tint;
out vec4 colour;
void main() {
  vec3 n = normalize(n_world);
  float rim = pow(1.0 - max(dot(n, normalize(eye - p_world)), 0.0), 3.0);
  float lit = 0.24 + 0.26 * (0.5 + 0.5 * n.y) + 0.72 * max(dot(n, light), 0.0);
  vec3 shaded = pow(pow(tint, vec3(2.2)) * lit + 0.05 * rim, vec3(1.0 / 2.2));
  colour = shadow ? vec4(tint, 1) : vec4(shaded, 1);
}`;

const GROUND_VERTEX = `#version 300 es
precision highp float;
uniform mat4 view;
uniform vec2 centre;
in vec2 corner;
out vec2 p_ground;
void main() {
  p_ground = centre + 20.0 * corner;
  gl_Position = view * vec4(p_ground.x, 0, p_ground.y, 1);
}`;

const GROUND_FRAGMENT = `#version 300 es
precision highp float;
uniform vec2 centre;
uniform vec3 ink;
in vec2 p_ground;
out vec4 colour;
void main() {
  vec2 step = fwidth(p_ground);
  vec2 line = 1.0 - min(abs(fract(p_ground + 0.5) - 0.5) / step, 1.0);
  float near = smoothstep(11.0, 3.0, distance(p_ground, centre)) * (1.0 - smoothstep(0.1, 0.6, max(step.x, step.y)));
  colour = vec4(ink, 0.5 * max(line.x, line.y) * near);
}`;

const LINES_VERTEX = `#version 300 es
precision highp float;
uniform mat4 view;
in vec3 p_world;
void main() { gl_Position = view * vec4(p_world, 1); }`;

const LINES_FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 ink;
out vec4 colour;
void main() { colour = vec4(ink, 1); }`;

const WIDE = 1024;

const LIGHT = [0.35, 0.85, 0.4].map((number) => number / Math.hypot(0.35, 0.85, 0.4));

function compileProgram(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  const locations = {};
  for (let n = 0; n < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); n++) {
    const name = gl.getActiveUniform(program, n).name.replace("[0]", "");
    locations[name] = gl.getUniformLocation(program, name);
  }
  return { program, locations };
}

function makeBuffer(gl, kind, array, usage = gl.STATIC_DRAW) {
  const buffer = gl.createBuffer();
  gl.bindBuffer(kind, buffer);
  gl.bufferData(kind, array, usage);
  return buffer;
}

/** Bind arrays to the inputs of a program; `arrays` maps the name of an input to [array, numbers per vertex]. */
function vertexArray(gl, program, arrays, faces) {
  const vertexArrayObject = gl.createVertexArray();
  gl.bindVertexArray(vertexArrayObject);
  for (const [name, [array, width]] of Object.entries(arrays)) {
    const location = gl.getAttribLocation(program, name);
    makeBuffer(gl, gl.ARRAY_BUFFER, array);
    gl.enableVertexAttribArray(location);
    if (name === "joints") gl.vertexAttribIPointer(location, width, gl.UNSIGNED_BYTE, 0, 0);
    else if (name === "weights") gl.vertexAttribPointer(location, width, gl.UNSIGNED_SHORT, true, 0, 0);
    else gl.vertexAttribPointer(location, width, gl.FLOAT, false, 0, 0);
  }
  if (faces) makeBuffer(gl, gl.ELEMENT_ARRAY_BUFFER, faces);
  gl.bindVertexArray(null);
  return vertexArrayObject;
}

/** Create a texture of all shape vectors, in rows of `WIDE`. */
function shapeTexture(gl, shapes) {
  const height = Math.ceil(shapes.length / 3 / WIDE);
  const filled = new Int8Array(3 * WIDE * height);
  filled.set(shapes);
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8_SNORM, WIDE, height, 0, gl.RGB, gl.BYTE, filled);
  for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
  return texture;
}

/** Create a scene on a canvas; null if the browser has no WebGL 2. `draw(view, people, lines, colours, hasFloor)` takes
 * `view` {matrix, eye, centre}, `people` [{person, row, bones, tints}], a colour for each of the `parts` of a dressed
 * body, and `lines` [{segments, colour}]. */
function makeScene(canvas, { faces, parts, people, parents, poseOffsets }) {
  const gl = canvas.getContext("webgl2", { antialias: true, alpha: false });
  if (!gl) return null;
  const sizes = { JOINTS: parents.length, POSE_OFFSETS: poseOffsets, WIDE };
  const body = compileProgram(gl, SKIN_VERTEX.replace(/JOINTS|POSE_OFFSETS|WIDE/g, (name) => sizes[name]), SKIN_FRAGMENT);
  const ground = compileProgram(gl, GROUND_VERTEX, GROUND_FRAGMENT);
  const lines = compileProgram(gl, LINES_VERTEX, LINES_FRAGMENT);
  const square = vertexArray(gl, ground.program, { corner: [new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), 2] });
  const skins = new Map(people.map((person) => {
    const { rest, normals, joints, weights } = person.skin;
    const inputs = { rest: [rest, 3], normal: [normals, 3], joints: [joints, 4], weights: [weights, 4], part: [parts, 1] };
    const array = vertexArray(gl, body.program, inputs, faces);
    return [person, { array, texture: shapeTexture(gl, person.poseOffsets.shapes) }];
  }));
  const index = faces instanceof Uint32Array ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT;

  function drawPeople(shown, view, shadow, shade) {
    const { program, locations } = body;
    gl.useProgram(program);
    gl.uniformMatrix4fv(locations.view, false, view.matrix);
    gl.uniform3fv(locations.light, LIGHT);
    gl.uniform3fv(locations.eye, view.eye);
    gl.uniform1i(locations.shadow, shadow);
    for (const { person, row, bones, tints } of shown) {
      const { array, texture } = skins.get(person);
      gl.uniform4fv(locations.bones, bones);
      gl.uniform3fv(locations.tints, shadow ? tints.flatMap(() => shade) : tints.flat());
      gl.uniform1fv(locations.poseOffsets, person.poseOffsets.metres.subarray(row * poseOffsets, (row + 1) * poseOffsets));
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.bindVertexArray(array);
      gl.drawElements(gl.TRIANGLES, faces.length, index, 0);
    }
  }

  function drawGround(view, ink) {
    gl.useProgram(ground.program);
    gl.uniformMatrix4fv(ground.locations.view, false, view.matrix);
    gl.uniform2fv(ground.locations.centre, view.centre);
    gl.uniform3fv(ground.locations.ink, ink);
    gl.bindVertexArray(square);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    gl.disable(gl.BLEND);
  }

  const lineBuffer = makeBuffer(gl, gl.ARRAY_BUFFER, new Float32Array(0), gl.DYNAMIC_DRAW);
  const segmentArray = gl.createVertexArray();
  function drawLines(points, view, ink) {
    const location = gl.getAttribLocation(lines.program, "p_world");
    gl.useProgram(lines.program);
    gl.uniformMatrix4fv(lines.locations.view, false, view.matrix);
    gl.uniform3fv(lines.locations.ink, ink);
    gl.bindVertexArray(segmentArray);
    gl.bindBuffer(gl.ARRAY_BUFFER, lineBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, points, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, 3, gl.FLOAT, false, 0, 0);
    gl.drawArrays(gl.LINES, 0, points.length / 3);
  }

  return {
    draw(view, shown, lines, { paper, shade, ink }, hasFloor) {
      const ratio = Math.min(devicePixelRatio, 2);
      [canvas.width, canvas.height] = [canvas.clientWidth, canvas.clientHeight].map((n) => Math.round(n * ratio) || 1);
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(...paper, 1);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.disable(gl.DEPTH_TEST);
      if (hasFloor) {
        drawPeople(shown, view, true, shade);
        drawGround(view, ink);
      }
      gl.enable(gl.DEPTH_TEST);
      for (const { segments, colour } of lines) drawLines(segments, view, colour);
      drawPeople(shown, view, false);
    },
  };
}
