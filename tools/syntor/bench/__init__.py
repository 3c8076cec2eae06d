"""The benchmarks. Each prints its figure beside something it is compared to, measured in the same run."""
