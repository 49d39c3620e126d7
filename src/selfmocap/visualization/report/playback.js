// Decode the data of playback.py, and compute the body's forward kinematics.
"use strict";

const ARRAYS = {
  int8: Int8Array, int16: Int16Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array,
};

function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let n = 0; n < bytes.length; n++) bytes[n] = letters.charCodeAt(n);
  return bytes;
}

function unpacked({ type, data }) {
  return new ARRAYS[type](bytesOf(data).buffer);
}

function unit(packed) {
  return Float32Array.from(unpacked(packed), (number) => number / 32767);
}

function readPerson(person, faces) {
  const { vertices, scale, joints, weights } = person.skin;
  const rest = unit(vertices).map((number) => number * scale);
  return {
    number: person.number,
    row: unpacked(person.row),
    skin: { rest, normals: normalsOf(rest, faces), joints: unpacked(joints), weights: unpacked(weights) },
    poseOffsets: { metres: unpacked(person.pose_offsets.metres), shapes: unpacked(person.pose_offsets.shapes) },
    restJoints: unpacked(person.rest_joints),
    rotations: unit(person.rotations),
    root: unpacked(person.root),
    confidence: unpacked(person.confidence),
    filled: unpacked(person.filled),
    keypointPx: person.keypoint_px.map(([name, values]) => [name, unpacked(values)]),
    lowConfidence: person.low_confidence_ranges,
    hasFloor: person.has_floor,
    camera: { ...person.camera, rotations: unit(person.camera.rotations), t: unpacked(person.camera.t) },
  };
}

function readPlayback(text) {
  const data = JSON.parse(text);
  const faces = unpacked(data.faces);
  const parts = Float32Array.from(unpacked(data.parts));
  return { ...data, faces, parts, poseOffsets: data.pose_offsets, people: data.people.map((person) => readPerson(person, faces)) };
}

/** Compute for each vertex the mean of the normals of its faces, weighted by area. */
function normalsOf(vertices, faces) {
  const normals = new Float32Array(vertices.length);
  for (let face = 0; face < faces.length; face += 3) {
    const [a, b, c] = [3 * faces[face], 3 * faces[face + 1], 3 * faces[face + 2]];
    const u = [0, 1, 2].map((axis) => vertices[b + axis] - vertices[a + axis]);
    const v = [0, 1, 2].map((axis) => vertices[c + axis] - vertices[a + axis]);
    const n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    for (const corner of [a, b, c]) for (let axis = 0; axis < 3; axis++) normals[corner + axis] += n[axis];
  }
  return normals;
}

/** Convert the quaternion (x, y, z, w) at index `at`, of any length, to a rotation matrix, row by row. */
function matrixOf(rotations, at) {
  const [x, y, z, w] = rotations.subarray(at, at + 4);
  const s = 2 / (x * x + y * y + z * z + w * w);
  return [
    1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w),
    s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w),
    s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y),
  ];
}

function product(a, b) {
  return Array.from({ length: 9 }, (_, n) => {
    const [row, column] = [3 * Math.floor(n / 3), n % 3];
    return a[row] * b[column] + a[row + 1] * b[column + 3] + a[row + 2] * b[column + 6];
  });
}

function rotated(R, p) {
  return [0, 3, 6].map((row) => R[row] * p[0] + R[row + 1] * p[1] + R[row + 2] * p[2]);
}

/** Compute the rotation and position (metres) of each joint in the world by forward kinematics. */
function posedJoints(person, row, parents) {
  const rest = (joint) => person.restJoints.subarray(3 * joint, 3 * joint + 3);
  const posed = [];
  parents.forEach((parent, joint) => {
    const local = matrixOf(person.rotations, 4 * (row * parents.length + joint));
    if (parent < 0) {
      posed.push({ R: local, p: [...person.root.subarray(3 * row, 3 * row + 3)] });
      return;
    }
    const parentJoint = posed[parent];
    const bone = rotated(parentJoint.R, rest(joint).map((number, axis) => number - rest(parent)[axis]));
    posed.push({ R: product(parentJoint.R, local), p: bone.map((number, axis) => number + parentJoint.p[axis]) });
  });
  return posed;
}

/** Compute for each joint the three rows of the transform from the rest pose to the world. */
function bonesOf(person, row, parents) {
  const bones = new Float32Array(12 * parents.length);
  posedJoints(person, row, parents).forEach(({ R, p }, joint) => {
    const moved = rotated(R, person.restJoints.subarray(3 * joint, 3 * joint + 3));
    for (let axis = 0; axis < 3; axis++) {
      bones.set([...R.slice(3 * axis, 3 * axis + 3), p[axis] - moved[axis]], 12 * joint + 4 * axis);
    }
  });
  return bones;
}

/** Compute the angle of a joint from the T-pose in each frame, degrees; NaN in frames without the person. */
function jointAngles(person, joint, joints) {
  return Float32Array.from(person.row, (row) => {
    if (row < 0) return NaN;
    const [x, y, z, w] = person.rotations.subarray(4 * (row * joints + joint));
    return (2 * Math.atan2(Math.hypot(x, y, z), Math.abs(w)) * 180) / Math.PI;
  });
}
