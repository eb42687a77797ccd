"""Per-sample gradients, Fisher, influence scores and plain baselines, relabeling, score files."""
