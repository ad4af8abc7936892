"""Proves that a site works: `python -m verify STACK`, see docs/verify.md."""
