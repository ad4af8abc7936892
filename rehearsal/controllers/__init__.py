"""What a real cluster has beside its control plane: Karpenter, the CSI and load balancer controllers, and AWS's hands.

One process, `python -m rehearsal.controllers`, plays them all against the rehearsal's API server and simulated AWS.
"""
