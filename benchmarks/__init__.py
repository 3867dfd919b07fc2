"""Speed, measured: each module prints ratios taken in one run, as `python -m benchmarks.NAME`."""
