"""What the demos and benchmarks share: running commands, fetching wheels, keeping and showing results."""
