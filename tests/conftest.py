"""What holds for every test."""

from __future__ import annotations

import hypothesis

# A slow machine is no failure: no test asserts a time.
hypothesis.settings.register_profile("gpulab", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("gpulab")
