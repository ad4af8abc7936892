"""The parts of the stand-in for pulumi-kubernetes that need no API server."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.providers.kubernetes import chart_lookup, configuration, kinds, objects
from rehearsal.providers.kubernetes.provider import KubernetesProvider
from rehearsal.providers.protocol.model import UNKNOWN, Refused, Request, ResourceType, changed_paths

RELEASE = "kubernetes:helm.sh/v3:Release"


def kubeconfig(server: str = "https://one.example.com", token: str = "a") -> str:
    return json.dumps(
        {
            "clusters": [{"name": "lab", "cluster": {"server": server}}],
            "users": [{"name": "me", "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "me", "namespace": "team"}}],
            "current-context": "lab",
        }
    )


def resource(token: str) -> tuple[ResourceType, Request]:
    provider = KubernetesProvider()
    return provider.resource_type(token), Request(urn=f"urn:pulumi:s::p::{token}::web", provider=provider)


def check(token: str, inputs: dict[str, Any], olds: dict[str, Any] | None = None) -> dict[str, Any]:
    kind, request = resource(token)
    return kind.check(inputs, olds or {}, request)


@pytest.mark.parametrize("field", ["name", "namespace"])
def test_a_name_that_a_preview_does_not_know_stays_unknown(field: str) -> None:
    metadata = {"name": "realm", "namespace": "identity", field: UNKNOWN}
    assert check("kubernetes:core/v1:ConfigMap", {"metadata": metadata})["metadata"] == metadata


class TestConfiguration:
    def test_a_misspelt_key_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(Refused, match=r"kubeConfig: unknown configuration; did you mean kubeconfig\?"):
            configuration.check({"kubeConfig": "{}"})

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"renderYamlToDirectory": "out"}, "renderYamlToDirectory: the rehearsal"),
            (
                {"enableServerSideApply": "false"},
                "enableServerSideApply: the rehearsal supports only server-side apply",
            ),
            ({"deleteUnreachable": "yes"}, "deleteUnreachable: true or false is expected"),
            ({"helmReleaseSettings": '{"drivr": "secret"}'}, "helmReleaseSettings.drivr: unknown"),
            ({"helmReleaseSettings": '{"driver": "sql"}'}, "keeps releases only in Secrets"),
        ],
    )
    def test_refusals(self, given: dict[str, Any], expected: str) -> None:
        with pytest.raises(Refused, match=re.escape(expected)):
            configuration.check(given)

    def test_unknown_values_pass(self) -> None:
        configuration.check({"kubeconfig": UNKNOWN, "enableServerSideApply": UNKNOWN, "helmReleaseSettings": UNKNOWN})

    def test_a_new_token_replaces_nothing_but_another_server_does(self) -> None:
        before = {"kubeconfig": kubeconfig()}
        assert configuration.replaces(before, {"kubeconfig": kubeconfig(token="b")}) == set()
        assert configuration.replaces(before, {"kubeconfig": kubeconfig("https://two.example.com")}) == {"kubeconfig"}

    def test_an_unknown_kubeconfig_replaces_unless_the_cluster_is_identified(self) -> None:
        before = {"kubeconfig": kubeconfig()}
        assert configuration.replaces(before, {"kubeconfig": UNKNOWN}) == {"kubeconfig"}
        identified = {"clusterIdentifier": "lab"}
        assert configuration.replaces({**before, **identified}, {"kubeconfig": UNKNOWN, **identified}) == set()
        assert "clusterIdentifier" in configuration.replaces(
            {**before, **identified}, {**before, "clusterIdentifier": "other"}
        )

    def test_the_namespace_is_the_configurations_then_the_contexts(self) -> None:
        assert configuration.namespace({"kubeconfig": kubeconfig()}) == "team"
        assert configuration.namespace({"kubeconfig": kubeconfig(), "namespace": "mine"}) == "mine"

    def test_a_credential_plugin_without_credentials_gives_no_access(self) -> None:
        document = json.loads(kubeconfig())
        document["users"][0]["user"] = {
            "exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "false"}
        }
        with pytest.raises(configuration.NoAccess, match="credential plugin false did not give credentials"):
            configuration.access({"kubeconfig": json.dumps(document)})


class TestObjects:
    def test_the_logical_name_and_eight_digits_make_the_name(self) -> None:
        obj = check("kubernetes:core/v1:ConfigMap", {"data": {}})
        assert re.fullmatch(r"web-[0-9a-f]{8}", obj["metadata"]["name"])
        assert obj["metadata"]["annotations"] == {objects.AUTONAMED: "true"}
        assert (obj["apiVersion"], obj["kind"]) == ("v1", "ConfigMap")

    def test_a_name_once_drawn_stays_and_a_chosen_one_is_not_adopted(self) -> None:
        drawn = check("kubernetes:core/v1:ConfigMap", {})
        assert check("kubernetes:core/v1:ConfigMap", {}, drawn)["metadata"]["name"] == drawn["metadata"]["name"]
        chosen = check("kubernetes:core/v1:ConfigMap", {"metadata": {"name": "mine"}})
        assert check("kubernetes:core/v1:ConfigMap", {}, chosen)["metadata"]["name"] != "mine"

    @pytest.mark.parametrize(
        ("token", "inputs", "expected"),
        [
            (
                "kubernetes:core/v1:NamespacePatch",
                {"kind": "Namespace"},
                "require the `.metadata.name` field to be set",
            ),
            ("kubernetes:core/v1:ConfigMap", {"kind": "Secret"}, "kind: 'Secret' is not the kind"),
            (
                "kubernetes:core/v1:Pod",
                {"metadata": {"generateName": "a-"}},
                "generateName is not supported",
            ),
            ("kubernetes:yaml/v2:ConfigGroup", {}, "does not support kubernetes:yaml/v2:ConfigGroup"),
            ("kubernetes:helm.sh/v4:Chart", {}, "does not support kubernetes:helm.sh/v4:Chart"),
        ],
    )
    def test_refusals(self, token: str, inputs: dict[str, Any], expected: str) -> None:
        with pytest.raises(Refused, match=re.escape(expected)):
            check(token, inputs)

    def test_names_with_dashes_survive_the_way_there_and_back(self) -> None:
        inputs = {"spec": {"x_kubernetes_preserve_unknown_fields": True}}
        manifest = objects.to_manifest(inputs)
        assert manifest == {"spec": {"x-kubernetes-preserve-unknown-fields": True}}
        assert objects.to_outputs(manifest, "me")["spec"] == inputs["spec"]

    def test_what_the_server_spells_otherwise_is_no_drift(self) -> None:
        inputs = {"spec": {"cpu": "1000m"}, "stringData": {"a": "b"}}
        recorded = {"spec": {"cpu": "1", "added": True}, "data": {"a": "Yg=="}}
        assert objects.live_inputs(inputs, recorded, recorded) == inputs
        assert objects.live_inputs(inputs, recorded, {**recorded, "spec": {"cpu": "2"}})["spec"] == {"cpu": "2"}

    def test_a_field_that_somebody_removed_is_drift(self) -> None:
        inputs = {"metadata": {"labels": {"a": "1", "b": "2"}}}
        assert objects.live_inputs(inputs, inputs, {"metadata": {"labels": {"a": "1"}}}) == {
            "metadata": {"labels": {"a": "1"}}
        }

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=3),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
        )
    )
    def test_an_unchanged_object_never_drifts(self, value: Any) -> None:
        obj = {"spec": value}
        assert objects.live_inputs(obj, obj, obj) == obj


class TestReplacements:
    @staticmethod
    def replacing(api_version: str, kind: str, old: Any, new: Any, **options: bool) -> set[str]:
        changed = [path for path, _ in changed_paths(old, new)]
        paths = kinds.replacing_paths(changed, api_version, kind, **{"immutable": False, **options})
        return {".".join(map(str, path)) for path in paths}

    def test_a_new_selector_replaces_a_deployment_and_new_replicas_do_not(self) -> None:
        old = {"spec": {"selector": {"matchLabels": {"a": "b"}}, "replicas": 1}}
        new = {"spec": {"selector": {"matchLabels": {"a": "c"}}, "replicas": 2}}
        assert self.replacing("apps/v1", "Deployment", old, new) == {"spec.selector.matchLabels.a"}

    def test_a_new_image_replaces_a_pod(self) -> None:
        old, new = ({"spec": {"containers": [{"name": "c", "image": image}]}} for image in ("a", "b"))
        assert self.replacing("v1", "Pod", old, new) == {"spec.containers.0.image"}

    def test_new_data_replaces_a_config_map_unless_it_is_mutable(self) -> None:
        old, new = {"data": {"a": "1"}}, {"data": {"a": "2"}}
        assert self.replacing("v1", "ConfigMap", old, new) == {"data.a"}
        assert self.replacing("v1", "ConfigMap", old, new, config_map_mutable=True) == set()
        assert self.replacing("v1", "ConfigMap", old, new, config_map_mutable=True, immutable=True) == {"data.a"}

    def test_another_namespace_replaces_anything(self) -> None:
        old, new = ({"metadata": {"namespace": namespace}} for namespace in ("a", "b"))
        assert self.replacing("example.com/v1", "Widget", old, new) == {"metadata.namespace"}

    def test_a_name_that_the_program_chose_is_freed_first(self) -> None:
        kind, _ = resource("kubernetes:apps/v1:Deployment")
        old = {"metadata": {"name": "web", "namespace": "a"}, "spec": {"selector": {"matchLabels": {"a": "b"}}}}
        new = {**old, "spec": {"selector": {"matchLabels": {"a": "c"}}}}
        assert kind.difference(old, new, old).delete_before_replace
        drawn = {**new, "metadata": {**new["metadata"], "annotations": {objects.AUTONAMED: "true"}}}
        assert not kind.difference(old, drawn, old).delete_before_replace


class TestReleases:
    @pytest.mark.parametrize(
        ("reference", "name"),
        [
            ("karpenter", "karpenter"),
            ("oci://public.ecr.aws/karpenter/karpenter-crd", "karpenter-crd"),
            ("jupyterhub/jupyterhub", "jupyterhub"),
            ("https://example.com/charts/cert-manager-v1.21.1.tgz", "cert-manager"),
        ],
    )
    def test_a_chart_is_known_by_the_end_of_its_reference(self, reference: str, name: str) -> None:
        assert chart_lookup.find(reference, None).name == name

    @pytest.mark.parametrize(
        ("inputs", "expected"),
        [
            ({}, "chart: missing required property"),
            ({"chart": "karpenter", "skipCrd": True}, "skipCrd: unknown property; did you mean skipCrds?"),
            ({"chart": "karpenter", "timeout": "5m"}, "timeout: '5m' is of the wrong type"),
            ({"chart": "karpenter", "repositoryOpts": {"url": "x"}}, "repositoryOpts.url: unknown property"),
            ({"chart": "karpenter", "name": "Karpenter"}, "invalid release name 'Karpenter'"),
            ({"chart": "karpenter", "version": "1.13.0"}, "'1.13.0' is not the version"),
            ({"chart": "carpenter"}, "no contract for the chart 'carpenter'"),
            ({"chart": "./no/such/karpenter-1.14.1.tgz"}, "not found"),
            (
                {"chart": "karpenter", "values": {"settings": {"clustrName": "a"}}},
                "values.settings.clustrName: the chart has no such value; did you mean clusterName?",
            ),
            (
                {"chart": "karpenter", "values": {"hostNetwork": "false"}},
                "values.hostNetwork: true or false is expected (the default is False), not text",
            ),
            ({"chart": "karpenter", "values": {"settings": []}}, "values.settings: a mapping is expected"),
            ({"chart": "karpenter-crd", "values": {"webhook": {"enabled": True}}}, "values.webhook: the chart has no"),
            ({"chart": "jupyterhub", "values": {"cull": {"every": "often"}}}, "values.cull.every"),
            ({"chart": "cert-manager", "values": {"crd": {"enabled": True}}}, "'crd' was unexpected"),
        ],
    )
    def test_refusals(self, inputs: dict[str, Any], expected: str) -> None:
        with pytest.raises(Refused) as refused:
            check(RELEASE, inputs)
        assert expected in "\n".join(map(str, refused.value.failures))

    def test_all_mistakes_come_at_once(self) -> None:
        with pytest.raises(Refused) as refused:
            check(RELEASE, {"chart": "karpenter", "values": {"replica": 1, "logLevl": "debug"}})
        assert len(refused.value.failures) == 2

    @pytest.mark.parametrize(
        ("chart", "values"),
        [
            (
                "karpenter",
                {
                    "replicas": 1,
                    "nodeSelector": {"role": "system"},
                    "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
                    "serviceAccount": {"name": "karpenter", "annotations": {"a": "b"}},
                    "settings": {
                        "clusterName": UNKNOWN,
                        "interruptionQueue": UNKNOWN,
                        "featureGates": {"nodeOverlay": True},
                    },
                    "controller": {"resources": {"requests": {"cpu": 1, "memory": "1Gi"}}},
                    "affinity": None,
                    "dnsConfig": {"nameservers": ["10.0.0.2"]},
                },
            ),
            ("karpenter", UNKNOWN),
            ("jupyterhub", {"hub": {"config": {"Authenticator": {"admin_users": [UNKNOWN]}}}, "cull": {"every": 600}}),
            ("kube-prometheus-stack", {"grafana": {"adminPassword": "x"}, "crds": {"enabled": False}}),
            ("aws-load-balancer-controller", {"clusterName": "lab", "vpcId": UNKNOWN, "region": "us-east-1"}),
        ],
    )
    def test_values_that_a_real_chart_takes_pass(self, chart: str, values: Any) -> None:
        assert check(RELEASE, {"chart": chart, "values": values})["chart"] == chart

    def test_a_refusal_does_not_show_the_value(self) -> None:
        with pytest.raises(Refused) as refused:
            check(RELEASE, {"chart": "jupyterhub", "values": {"proxy": {"secretToken": ["hunter2"]}}})
        assert "hunter2" not in "".join(map(str, refused.value.failures))

    def test_the_pinned_version_is_filled_in(self) -> None:
        assert check(RELEASE, {"chart": "karpenter"})["version"] == chart_lookup.find("karpenter", None).version
