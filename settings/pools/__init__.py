"""`gpulab:nodePools`: pools of nodes, their machines and GPUs."""
