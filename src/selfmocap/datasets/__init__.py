"""Reads what others recorded: skeletal motion capture (BVH, ASF/AMC, CMU's exponential maps), SMPL parameters (AMASS,
3DPW, SURREAL), joints and cameras (Human3.6M), keypoints (Penn Action); and retargets motion onto the body.
`motions_folder.load_motions` reads a whole folder."""
