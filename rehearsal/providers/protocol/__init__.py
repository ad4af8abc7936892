"""Serves a provider written in Python to the Pulumi engine.

The resource types of a stand-in are subclasses of `model.ResourceType`. `process.serve` does the rest: the provider
protocol over gRPC, unknown and secret values, previews, detailed diffs and partial failures. A resource type gets
property values as plain Python: `dict`, `list`, `str`, `bool`, `int`, `float`, `None`, and `UNKNOWN` for values that a
preview does not know. Inputs lose their secret marks, and the outputs at the same paths get them again. So no secret
input reaches the state in plain text.

`model` has the classes for a provider, `wire` the form of property values in gRPC messages, `servicer` the calls of the
protocol, and `process` the process of the plugin.

Protocol: pulumi/proto/provider.proto, https://www.pulumi.com/docs/iac/concepts/how-pulumi-works.
"""
