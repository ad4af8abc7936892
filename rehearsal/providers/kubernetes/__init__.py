"""The stand-in for pulumi-resource-kubernetes: it carries every operation out on a real API server.

Modelled on the behaviour of pulumi-kubernetes 4.34 (https://github.com/pulumi/pulumi-kubernetes); where it differs, it
refuses what the real plugin would accept, never the reverse.
"""
