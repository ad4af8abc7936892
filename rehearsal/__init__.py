"""Rehearses a stack without a cloud account: the real engine, a real Kubernetes control plane, a simulated AWS."""
