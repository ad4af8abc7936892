"""Guardrails for GPU platforms: a pulumi-policy pack for any Pulumi program, whatever its settings are.

A module a family. Each policy is a `ResourceValidationPolicy` or `StackValidationPolicy` at module level, made by
`policies.rules`; `policies.reading` has what several of them read; `policies.catalogue` lists them all.
"""
