"""The benchmarks. Each prints its results next to a baseline measured in the same run."""
