"""`gpulab:hub` and `gpulab:profiles`: how notebooks are started, and which ones there are."""
