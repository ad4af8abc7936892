"""The nodes that Karpenter buys, their GPUs, and placeholders that keep some of them ready."""
