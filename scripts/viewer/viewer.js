// The view of a moving character: a canvas, and a file .glb, .vrm or .bvh. See README.md here for its bundle.

import {
  AnimationMixer, Box3, DirectionalLight, GridHelper, HemisphereLight, PerspectiveCamera, Scene, SkeletonHelper,
  Timer, Vector3, WebGLRenderer,
} from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
import { BVHLoader } from "three/examples/jsm/loaders/BVHLoader.js";
import { GLTFLoader } from "three/examples/jsm/loaders/GLTFLoader.js";

/** Least time between the end of a picture and the next, so that without a GPU the page still answers. */
const PAUSE_MS = 15;

/** Load a character; return the object to draw, the object that moves, and its animations. */
async function load(url) {
  if (url.toLowerCase().endsWith(".bvh")) {
    const { skeleton, clip } = await new BVHLoader().loadAsync(url);
    const [root] = skeleton.bones;
    return { shown: [root, new SkeletonHelper(root)], moving: root, clips: [clip] };
  }
  const { scene, animations } = await new GLTFLoader().loadAsync(url);
  return { shown: [scene], moving: scene, clips: animations };
}

/** Return the box around all bones, or meshes without any. */
function boxOf(object) {
  const box = new Box3();
  object.updateWorldMatrix(true, true);
  object.traverse((node) => node.isBone && box.expandByPoint(node.getWorldPosition(new Vector3())));
  return box.isEmpty() ? box.setFromObject(object) : box;
}

/** Show a character and play its last animation, in a loop, until the canvas leaves the page. */
export async function showCharacter(canvas, url) {
  const { shown, moving, clips } = await load(url);
  const scene = new Scene();
  scene.add(...shown, new HemisphereLight(0xffffff, 0x777777, 2.5), new DirectionalLight(0xffffff, 1.5));
  const mixer = new AnimationMixer(moving);
  if (clips.length) mixer.clipAction(clips[clips.length - 1]).play();
  mixer.update(0);
  const box = boxOf(moving);
  const [centre, size] = [box.getCenter(new Vector3()), box.getSize(new Vector3()).length() || 1];
  const grid = new GridHelper(4 * size, 20, 0x888888, 0x888888);
  grid.position.set(centre.x, box.min.y, centre.z);
  scene.add(grid);

  const renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
  const camera = new PerspectiveCamera(35, 1, size / 100, size * 100);
  camera.position.copy(centre).add(new Vector3(0.5 * size, 0.25 * size, 1.8 * size));
  const controls = new OrbitControls(camera, canvas);
  controls.target.copy(centre);
  const timer = new Timer();
  const follow = new Vector3();
  let [shownWidth, shownHeight, shownAt] = [0, 0, 0];
  renderer.setAnimationLoop((now) => {
    if (!canvas.isConnected) {
      renderer.setAnimationLoop(null);
      renderer.dispose();
      return;
    }
    if (now - shownAt < PAUSE_MS) return;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width !== shownWidth || height !== shownHeight) {  // Setting a size allocates the picture anew.
      [shownWidth, shownHeight] = [width, height];
      renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
      renderer.setSize(width, height, false);
      camera.aspect = width / Math.max(height, 1);
      camera.updateProjectionMatrix();
    }
    mixer.update(timer.update(now).getDelta());
    boxOf(moving).getCenter(follow);
    camera.position.add(follow).sub(controls.target);
    controls.target.copy(follow);
    controls.update();
    renderer.render(scene, camera);
    shownAt = performance.now();
  });
}
