"""The stand-in for pulumi-resource-kubernetes. It runs every operation against a real API server.

It follows pulumi-kubernetes 4.34 (https://github.com/pulumi/pulumi-kubernetes). It refuses some inputs that the real
plugin accepts, but never accepts inputs that the real plugin refuses.
"""
