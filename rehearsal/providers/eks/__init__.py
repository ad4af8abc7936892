"""A stand-in for the pulumi-eks 4.4.0 component provider: it registers the children that the real components register.

Modelled are `eks:index:Cluster` in authentication mode API and without a default node group,
`eks:index:ManagedNodeGroup`, `eks:index:Addon` and `eks:index:VpcCniAddon`. Types, names, parents and inputs of the
children, and the outputs, are those of the TypeScript source (https://github.com/pulumi/pulumi-eks, nodejs/eks); what
is not modelled is refused by name. The components are ordinary `ComponentResource`s: unit tests build them under
`pulumi.runtime.set_mocks`.

Left out, since nothing depends on it here: the wait for a public endpoint's /healthz, and the look at the OIDC issuer's
certificate (the identity provider gets a fixed thumbprint; AWS ignores it for EKS issuers).
"""
