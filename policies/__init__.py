"""Guardrails for GPU platforms: a pulumi-policy pack for any Pulumi program; it does not read our settings.

Each family of policies is a module. Each policy is a `ResourceValidationPolicy` or `StackValidationPolicy` at module
level, made by `policies.rules`. `policies.reading` reads resources for several policies; `policies.pack` lists all
policies; `policies.analyzer` serves them to the engine.
"""
