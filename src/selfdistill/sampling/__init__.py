"""From a model and problems to samples, one row per response."""
