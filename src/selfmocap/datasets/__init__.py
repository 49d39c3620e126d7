"""Readers of motion capture (BVH, ASF/AMC, CMU's exponential maps), SMPL parameters (AMASS, 3DPW, SURREAL), joints and
cameras (Human3.6M) and keypoints (Penn Action), and retargeting to the body. `motions_folder.load_motions` reads a
folder of recordings."""
