"""Forward model, losses, priors and metrics. Losses and metrics are pure functions that return unreduced values."""
