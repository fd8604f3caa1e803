"""Detection tools: the benchmark of detectors over seeds."""
