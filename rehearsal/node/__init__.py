"""A real node for a rehearsal: containerd, kubelet and network policies in namespaces that leave no trace."""
