"""The learned inverse: from observations to a body (Tung et al. 2017, section 3)."""
