"""A stand-in for the pulumi-eks 4.4.0 component provider: it registers the children that the real components register.

It has `eks:index:Cluster` in authentication mode API and without a default node group,
`eks:index:ManagedNodeGroup`, `eks:index:Addon` and `eks:index:VpcCniAddon`. Types, names, parents and inputs of the
children, and the outputs, are those of the TypeScript source (https://github.com/pulumi/pulumi-eks, nodejs/eks). Other
inputs are refused by name. The components are ordinary `ComponentResource`s: unit tests build them under
`pulumi.runtime.set_mocks`.

Two steps are left out, because nothing depends on them here: the wait for /healthz of a public endpoint, and the read
of the OIDC issuer's certificate (the thumbprint is fixed; AWS ignores it for EKS issuers).
"""
