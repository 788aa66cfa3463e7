"""The Helm chart and the plain manifests: Kubernetes accepts them, and they fit the service."""

import configparser
import re
import tomllib

import pytest
import yaml
from deploy.deployment import DEPLOY, ROOT, named_variables, variables
from deploy.helm_chart import container, environment, load_script, needs_helm, only, pod, render
from document_blocks import blocks, section

from minikms.access.roles_file import read_roles
from minikms.config import OPTIONS, Config
from minikms.serve.lifecycle import LAST_CALLS, SHUTDOWN_TIMEOUT
from minikms.web.routes import ROUTES

pytestmark = [pytest.mark.slow, needs_helm]

CHART = DEPLOY / "helm/minikms"
ACCESS = section((ROOT / "docs/operations/access.md").read_text("utf-8"), "## Roles")
# The file for service accounts of the cluster.
ROLES = next(block.text for block in blocks(ACCESS) if block.language == "toml")
ALL = {
    "doors": {"aws": 4566, "vault": 8200},
    "tls": {"secret": "kms-tls"},
    "options": {"WORKERS": 2, "MAX_BODY": 2097152, "DOCS": False, "PORT": 9000},
    "image": {"pullSecrets": [{"name": "registry"}]},
    "volumes": {"class": "fast"},
    "podAnnotations": {"example.org/team": "kms"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "kms", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "networkPolicy": {"egress": [{"ports": [{"port": 443}]}]},
    "notes": {"p11": True},
    "roles": {"file": ROLES},
}
NOTHING = {
    "volumes": {"audit": ""},
    "metrics": {"port": 0},
    "store": {"init": False},
    "networkPolicy": {"enabled": False},
}
POSTGRES = {"store": {"kind": "postgres"}}
each_form = pytest.mark.parametrize(
    "values",
    [{}, POSTGRES, ALL, ALL | POSTGRES, NOTHING],
    ids=["sqlite", "postgres", "all", "all-postgres", "nothing"],
)


@each_form
def test_helm_has_no_complaint(values):
    import helm_python

    report = helm_python.lint(CHART, values, strict=True)
    complaints = [each for each in report["messages"] if each["severity"] > 1]
    assert (complaints, report["errors"]) == ([], [])


@each_form
@pytest.mark.parametrize("version", ["1.29", "1.34", "1.37"])
def test_kubernetes_accepts_every_object(values, version):
    import kubernetes_validate

    objects = render(values)
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))


def test_the_sidecar_of_the_notes_is_the_one_of_the_document():
    import helm_python
    import kubernetes_validate

    with helm_python.Chart.load(CHART) as chart:
        values = {"image": {"repository": "registry.example/mini-kms"}, "notes": {"p11": True}}
        rendered = chart.render(values, name="minikms", namespace="default")
    (notes,) = (text for path, text in rendered.items() if path.endswith("NOTES.txt"))
    shown = yaml.safe_load(re.search(r"^initContainers:\n(?:[ v].*\n)+", notes, re.MULTILINE)[0])
    document = (ROOT / "docs/pkcs11.md").read_text("utf-8")
    (pod,) = (yaml.safe_load(it.text) for it in blocks(document) if it.language == "yaml")
    kubernetes_validate.validate(pod, "1.29", strict=True)
    (sidecar,), (documented,) = shown["initContainers"], pod["spec"]["initContainers"]
    assert sidecar.pop("image").startswith(f"{documented.pop('image')}:")
    assert sidecar == documented
    assert shown["volumes"] == pod["spec"]["volumes"]


def test_plain_manifests_are_up_to_date(tmp_path):
    """Otherwise run deploy/kubernetes/render.py."""
    script = load_script()
    script.main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == script.FILES.keys()
    for made in tmp_path.iterdir():
        assert (DEPLOY / "kubernetes" / made.name).read_text("utf-8") == made.read_text("utf-8")


def test_sqlite_has_one_replica_with_a_volume_and_no_budget():
    objects = render({"replicas": 5})
    claims = only(objects, "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert only(objects, "StatefulSet")["spec"]["replicas"] == 1
    assert [each["metadata"]["name"] for each in claims] == ["data", "audit"]
    assert {each["kind"] for each in objects} == {"NetworkPolicy", "Service", "StatefulSet"}


def test_postgresql_has_many_replicas_with_a_budget():
    objects = render({**POSTGRES, "replicas": 5})
    assert only(objects, "StatefulSet")["spec"]["replicas"] == 5
    assert only(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    claims = only(objects, "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert [each["metadata"]["name"] for each in claims] == ["audit"]
    assert not any(
        each["kind"] == "PodDisruptionBudget" for each in render({**POSTGRES, "replicas": 1})
    )


def test_url_and_secrets_are_in_no_manifest():
    """The URL and the secrets come from the Secret, as files or by reference."""
    for values in ({}, POSTGRES):
        found = container(render(values), "minikms")
        assert environment(found)["MINIKMS_STORE_KEY_FILE"] == "/etc/minikms/store-key"
        assert environment(found)["MINIKMS_ADMIN_TOKEN_FILE"] == "/etc/minikms/admin-token"
        assert "MINIKMS_STORE_KEY" not in environment(found)
    url = next(each for each in found["env"] if each["name"] == "MINIKMS_STORE")
    assert url["valueFrom"]["secretKeyRef"] == {"name": "minikms", "key": "store-url"}
    volume = next(each for each in pod(render({}))["volumes"] if each["name"] == "secret")
    assert volume["secret"] == {"secretName": "minikms", "defaultMode": 0o440}


def test_document_makes_the_secret_that_the_chart_reads():
    document = (ROOT / "docs/operations/deployment.md").read_text("utf-8")
    made = set(re.findall(r"--from-literal=([\w-]+)=", document))
    assert made == {"store-key", "admin-token", "store-url"}
    values = (CHART / "values.yaml").read_text("utf-8")
    assert all(f"#   {name}  " in values for name in made)


@each_form
def test_variables_are_options(values):
    """With a value that the option takes."""
    choices = {f"MINIKMS_{each.name.upper()}": each.metadata["choices"] for each in OPTIONS}
    for each in pod(render(values))["containers"]:
        given = environment(each)
        assert given.keys() <= variables()
        for name, value in given.items():
            assert not choices.get(name) or value in choices[name]
    for path in CHART.rglob("*"):
        if path.is_file():
            assert named_variables(path.read_text("utf-8")) <= variables() | {"MINIKMS_"}


def test_options_replace_the_ones_of_the_chart_and_keep_their_form():
    given = environment(container(render(ALL), "minikms"))
    assert given["MINIKMS_PORT"] == "9000"
    assert given["MINIKMS_MAX_BODY"] == "2097152"
    assert given["MINIKMS_DOCS"] == "false"
    assert given["MINIKMS_AWS_PORT"] == "4566"


@each_form
def test_ports_are_those_of_the_service(values):
    objects = render(values)
    given = environment(container(objects, "minikms"))
    ports = {
        each["name"]: str(each["containerPort"]) for each in container(objects, "minikms")["ports"]
    }
    for name, port in ports.items():
        variable = {"http": "PORT", "metrics": "METRICS_PORT"}.get(name, f"{name.upper()}_PORT")
        assert given[f"MINIKMS_{variable}"] == port or "PORT" in values.get("options", {})
    services = [each for each in objects if each["kind"] == "Service"]
    targets = {port["targetPort"] for each in services for port in each["spec"]["ports"]}
    assert targets == ports.keys() - {"metrics"}
    for each in objects:
        if each["kind"] == "NetworkPolicy":
            allowed = {p["port"] for rule in each["spec"]["ingress"] for p in rule["ports"]}
            assert allowed == ports.keys()


def test_an_empty_list_of_sources_admits_nobody():
    """In a NetworkPolicy itself, a rule with an empty list admits all."""

    def admitted(**values):
        spec = only(render(values), "NetworkPolicy")["spec"]
        assert "Ingress" in spec["policyTypes"]
        return [port["port"] for rule in spec.get("ingress", ()) for port in rule["ports"]]

    nobody = {"from": []}
    assert admitted(networkPolicy=nobody) == ["metrics"]
    assert admitted(metrics=nobody, doors={"aws": 4566}) == ["http", "aws"]
    assert admitted(networkPolicy=nobody, metrics=nobody) == []


@each_form
def test_probes_ask_routes_of_the_service_and_pods_have_the_time_to_stop(values):
    objects = render(values)
    found = container(objects, "minikms")
    paths = {
        name: found[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths["readinessProbe"] == "/readyz"
    assert set(paths.values()) <= {route.path for route in ROUTES if route.method == "GET"}
    scheme = "HTTPS" if values.get("tls") else "HTTP"
    assert found["readinessProbe"]["httpGet"]["scheme"] == scheme
    stop = pod(objects)["terminationGracePeriodSeconds"]
    assert stop > Config().shutdown_grace + LAST_CALLS + SHUTDOWN_TIMEOUT


@each_form
def test_pods_satisfy_the_level_restricted(values):
    """Of the Pod Security Standards, with the user of the image."""
    found = pod(render(values))
    context = found["securityContext"]
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    (user,) = re.findall(r"^USER (\d+)$", dockerfile, re.MULTILINE)
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == int(user)
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert found["automountServiceAccountToken"] is False
    for each in (*found.get("initContainers", ()), *found["containers"]):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    kinds = {kind for volume in found["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"secret", "emptyDir", "configMap", "projected"}
    assert ("projected" in kinds) == ("roles" in values)


@each_form
def test_every_folder_that_an_option_names_is_mounted(values):
    found = container(render(values), "minikms")
    mounts = [each["mountPath"] for each in found["volumeMounts"]]
    for value in environment(found).values():
        path = value.removeprefix("sqlite://")
        if path.startswith("/"):
            assert any(path.startswith(f"{mount}/") for mount in mounts), path


def test_the_roles_are_those_of_the_values(tmp_path):
    objects = render({"roles": {"file": ROLES}})
    (tmp_path / "roles.toml").write_text(only(objects, "ConfigMap")["data"]["roles.toml"])
    found = read_roles(str(tmp_path / "roles.toml"))
    assert [role.name for role in found.roles] == ["pid-issuer"]
    (issuer,) = found.issuers
    for each in (*pod(objects)["initContainers"], *pod(objects)["containers"]):
        assert environment(each)["MINIKMS_ROLES"] == "/etc/minikms-roles/roles.toml"
    volumes = {each["name"]: each for each in pod(objects)["volumes"]}
    (mount,) = (
        each["mountPath"]
        for each in container(objects, "minikms")["volumeMounts"]
        if each["name"] == "cluster"
    )
    token, authority = volumes["cluster"]["projected"]["sources"]
    assert issuer.source.token_file == f"{mount}/{token['serviceAccountToken']['path']}"
    assert issuer.source.ca == f"{mount}/{authority['configMap']['items'][0]['path']}"
    assert "audience" not in token["serviceAccountToken"]  # it is for the Kubernetes API
    without = render({"roles": {"file": ROLES, "cluster": False}})
    assert {"roles"} == {each["name"] for each in pod(without)["volumes"]} & {"roles", "cluster"}


def test_changed_roles_restart_the_pods():
    def template(file):
        return only(render({"roles": {"file": file}}), "StatefulSet")["spec"]["template"]

    assert template(ROLES) == template(ROLES)
    assert template(ROLES) != template(ROLES.replace('"sign"', '"verify"'))


@pytest.mark.parametrize("version", ["1.29", "1.34", "1.37"])
def test_the_caller_has_the_role_of_the_document(version):
    import kubernetes_validate

    text = (DEPLOY / "kubernetes/caller.yaml").read_text("utf-8")
    objects = list(yaml.safe_load_all(text))
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)
    account, deployment = objects
    place = account["metadata"]
    spec = deployment["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == place["name"]
    assert deployment["metadata"]["namespace"] == place["namespace"]
    (volume,), (found,) = spec["volumes"], spec["containers"]
    (mount,) = found["volumeMounts"]
    (source,) = volume["projected"]["sources"]
    token = source["serviceAccountToken"]
    documented = tomllib.loads(ROLES)
    role = documented["roles"]["pid-issuer"]
    subject = f"system:serviceaccount:{place['namespace']}:{place['name']}"
    assert role["claims"] == {"sub": [subject]}
    assert token["audience"] == documented["issuers"]["cluster"]["audience"]
    assert token["expirationSeconds"] < role["max_age"]
    given = environment(found)
    assert mount["name"] == volume["name"]
    assert given["MINIKMS_TOKEN_FILE"] == f"{mount['mountPath']}/{token['path']}"
    assert [given["MINIKMS_PROFILE"]] == role["profiles"]
    client = (ROOT / "clients/python/minikms_client/settings.py").read_text("utf-8")
    assert all(f'"{name}"' in client for name in given)


@pytest.mark.parametrize(
    "values",
    [{"store": {"kind": "etcd"}}, {"replicas": 0}, {"service": {"port": 80}}, {"stor": {}}],
)
def test_other_values_are_refused(values):
    import helm_python

    with pytest.raises(helm_python.HelmValuesError):
        render(values)


def test_chart_has_the_version_of_the_service():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["version"] == chart["appVersion"] == setup["metadata"]["version"]
