"""Reads what others recorded: skeletal motion capture (BVH, ASF/AMC, CMU's exponential maps), SMPL parameters (AMASS,
3DPW, SURREAL), joints and cameras (Human3.6M); and retargets any of it onto the body. `motions_folder.load_motions`
reads a whole folder."""
