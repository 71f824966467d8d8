"""Comparisons with other runtimes, both sides in one run: ``python -m benchmarks``."""
