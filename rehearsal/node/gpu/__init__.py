"""GPUs for a node without any: NVIDIA's own software runs on a stand-in of NVIDIA's management library."""
