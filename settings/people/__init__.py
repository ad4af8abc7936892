"""`gpulab:identity` and `gpulab:teams`: who people are, and what their teams may use."""
