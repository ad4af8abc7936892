"""Rehearses a stack without a cloud account: the real engine, a real Kubernetes control plane, a simulated AWS."""

import sys

# Where jsonschema finds it, it builds a grammar of formats, which no chart's schema asks for: two seconds of each
# process that imports it, and every command of the engine starts a provider that does, twice.
sys.modules.setdefault("rfc3987_syntax", None)  # pyright: ignore[reportArgumentType, reportCallIssue]
