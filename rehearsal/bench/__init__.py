"""Measures the time and memory of a rehearsal, and of stacks with many teams."""
