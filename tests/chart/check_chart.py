#!/usr/bin/env python3
"""Checks the Helm chart without a cluster: lint, render, Kubernetes schemas, and what the chart promises.

    python3 tests/chart/check_chart.py --venv DIRECTORY   # makes DIRECTORY and installs the two wheels into it when needed
    python3 tests/chart/check_chart.py                    # in an environment that has them

Helm's engine here can install but not render alone. So it installs against a loopback API server that knows the kinds
of objects, keeps the release that Helm stores first (manifest, hooks and notes), and then refuses: nothing is created.
"""

import argparse
import asyncio
import base64
import gzip
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import tomllib
import venv
from pathlib import Path

from overrides import BAD_VALUES, CONFLICTING_VALUES, GOOD_VALUES

try:
    import helm_sdkpy
    import kubernetes_validate
    import yaml
except ImportError:  # --venv installs them and starts this script again
    helm_sdkpy = None

WHEELS = ["helm-sdkpy==0.1.32", "kubernetes-validate==1.37.0"]
REPO_ROOT = Path(__file__).resolve().parents[2]
# The oldest that Chart.yaml allows, and the newest whose schemas are at hand.
KUBERNETES_VERSIONS = ["1.27", "1.37"]

RELEASE = "shop"
PORTS = {"ingestion": 7701, "scoring": 7702, "lifecycle": 7703, "segmentation": 7704, "access-control": 7705}

# What the loopback server can be asked to hold. A new kind of object in the chart needs a line here.
KINDS = {
    "v1": {"configmaps": "ConfigMap", "secrets": "Secret", "services": "Service", "serviceaccounts": "ServiceAccount",
           "persistentvolumeclaims": "PersistentVolumeClaim", "pods": "Pod"},
    "apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "batch/v1": {"jobs": "Job", "cronjobs": "CronJob"},
    "networking.k8s.io/v1": {"ingresses": "Ingress", "networkpolicies": "NetworkPolicy"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "rbac.authorization.k8s.io/v1": {"roles": "Role", "rolebindings": "RoleBinding"},
}


class ApiServer(http.server.ThreadingHTTPServer):
    """As much of the Kubernetes API as a first install asks for. `release` is the last one that Helm stored."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), ApiHandler)
        self.release = None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def kubeconfig(self):
        return json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "loopback",
            "clusters": [{"name": "loopback", "cluster": {"server": f"http://127.0.0.1:{self.server_address[1]}"}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "loopback", "context": {"cluster": "loopback", "user": "nobody"}}],
        })


class ApiHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, _, query = self.path.partition("?")
        group_version = path.removeprefix("/apis/").removeprefix("/api/")
        if path == "/version":
            major, minor = KUBERNETES_VERSIONS[-1].split(".")
            self.answer(200, {"major": major, "minor": minor, "gitVersion": f"v{major}.{minor}.0"})
        elif path == "/api":
            self.answer(200, {"kind": "APIVersions", "apiVersion": "v1", "versions": ["v1"]})
        elif path == "/apis":
            self.answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(name) for name in KINDS if "/" in name]})
        elif group_version in KINDS:
            self.answer(200, resource_list(group_version))
        elif path.endswith("/secrets") and "owner%3Dhelm" in query:
            self.answer(200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": []})
        else:
            self.refuse(404, "NotFound")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        # Helm stores a release as a Secret. It comes as protobuf, with the release in it as base64 of gzip of JSON;
        # no letter of base64 can follow, since the next field's tag is none.
        packed = re.search(rb"H4sI[A-Za-z0-9+/]+=*", body)
        if packed and b"helm.sh/release.v1" in body:
            self.server.release = json.loads(gzip.decompress(base64.b64decode(packed[0])))
        self.refuse(403, "Forbidden")

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, reason):
        self.answer(status, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "reason": reason,
                             "message": "this server only looks"})

    def log_message(self, *_):
        pass


def group(group_version):
    name, version = group_version.split("/")
    entry = {"groupVersion": group_version, "version": version}
    return {"name": name, "versions": [entry], "preferredVersion": entry}


def resource_list(group_version):
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
            "resources": [{"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": True, "verbs": verbs}
                          for plural, kind in KINDS[group_version].items()]}


class Refused(Exception):
    """Helm would not render: the values schema, or a template, said no."""


class Chart:
    """The chart and the engine that renders it."""

    def __init__(self, path, kubeconfig):
        self.path = str(path)
        self.rendered = {}
        self.server = ApiServer()
        kubeconfig.write_text(self.server.kubeconfig())
        self.config = helm_sdkpy.Configuration(namespace="shops", kubeconfig=str(kubeconfig))

    def lint(self):
        return asyncio.run(helm_sdkpy.Lint(self.config).run(self.path))

    def render(self, values, release=RELEASE):
        """The release as Helm would store it, hooks and notes included. Rendered once for the same question."""
        question = json.dumps([values, release])
        if question in self.rendered:
            return self.rendered[question]
        self.server.release = None
        try:
            asyncio.run(helm_sdkpy.Install(self.config).run(release, self.path, values=values, wait=False, timeout=20))
        except helm_sdkpy.HelmError as error:
            if self.server.release is None:
                raise Refused(str(error)) from None
        self.rendered[question] = self.server.release
        return self.server.release


def objects(release):
    """All the objects of a release: those of the manifest, then the hooks'."""
    manifests = [release["manifest"]] + [hook["manifest"] for hook in release.get("hooks") or []]
    return [item for manifest in manifests for item in yaml.safe_load_all(manifest) if item]


def of_kind(items, kind):
    return {item["metadata"]["name"]: item for item in items if item["kind"] == kind}


def pod_specs(items):
    return [item["spec"]["template"]["spec"] for item in items if item["kind"] in ("Deployment", "Job")]


# ---- the checks: each returns what is wrong, so that an empty answer passes


def lint_findings(chart):
    # Severity 1 is information (no icon). The binding drops the words of a finding: rendering gives them.
    result = chart.lint()
    findings = [f"{finding['Path']}: severity {finding['Severity']}" for finding in result["Messages"] or [] if finding["Severity"] > 1]
    return findings + [str(error) for error in result["Errors"] or []]


def schema_faults(items):
    """Every object against the strict schemas of each Kubernetes version; an unknown kind is a fault too."""
    faults = [] if items else ["nothing was rendered"]
    for version in KUBERNETES_VERSIONS:
        for item in items:
            name = f"{item.get('kind')}/{item.get('metadata', {}).get('name')} (Kubernetes {version})"
            try:
                kubernetes_validate.validate(item, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                faults.append(f"{name}: {'.'.join(map(str, error.path))}: {error.message}")
            except kubernetes_validate.SchemaNotFoundError as error:
                faults.append(f"{name}: {error.message}")
    return faults


def name_faults(items):
    """Schemas leave names and label values free; the API server does not."""
    faults = []
    for item in items:
        metadata = item["metadata"]
        if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", metadata["name"]):
            faults.append(f"{item['kind']}: the name {metadata['name']!r}")
        faults += [f"{item['kind']}/{metadata['name']}: the label {key}={value!r}" for key, value in metadata["labels"].items()
                   if not re.fullmatch(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?", value)]
    seen = [(item["kind"], item["metadata"]["name"]) for item in items]
    return faults + [f"rendered twice: {key}" for key in sorted(set(seen)) if seen.count(key) > 1]


def role_faults(items, ports, release=RELEASE):
    """Exactly one Deployment and one Service per role, on the role's port, with all three gRPC probes."""
    faults = []
    deployments, services = of_kind(items, "Deployment"), of_kind(items, "Service")
    wanted = {f"{release}-{role}" for role in ports}
    for kind, found in (("Deployments", deployments), ("Services", services)):
        if set(found) != wanted:
            faults.append(f"{kind}: {sorted(found)}")
    for role, port in ports.items():
        name = f"{release}-{role}"
        if name not in deployments or name not in services:
            continue
        template = deployments[name]["spec"]["template"]
        container = template["spec"]["containers"][0]
        if container["args"] != ["serve", "--role", role, "--config", "/etc/quintile/quintile.toml"]:
            faults.append(f"{name}: args {container['args']}")
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if container.get(probe, {}).get("grpc") != {"port": port, "service": ""}:
                faults.append(f"{name}: {probe} {container.get(probe)}")
        [service_port] = services[name]["spec"]["ports"]
        targets = {entry["name"]: entry["containerPort"] for entry in container["ports"]}
        if service_port["port"] != port or targets.get(service_port["targetPort"]) != port:
            faults.append(f"{name}: service port {service_port}, container ports {targets}")
        if not services[name]["spec"]["selector"].items() <= template["metadata"]["labels"].items():
            faults.append(f"{name}: the Service does not select the pods")
        if deployments[name]["spec"]["selector"]["matchLabels"] != services[name]["spec"]["selector"]:
            faults.append(f"{name}: Deployment and Service select different pods")
    return faults


def hardening_faults(items):
    """Every pod fits the `restricted` Pod Security Standard, writes only where a volume is, and has limits."""
    faults = []
    for spec in pod_specs(items):
        [container] = spec["containers"]
        name = " ".join(container["args"][:3])
        pod, own = spec["securityContext"], container["securityContext"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        promises = {
            "not root": pod["runAsNonRoot"] is True and pod["runAsUser"] > 0,
            "seccomp": pod["seccompProfile"] == {"type": "RuntimeDefault"},
            "read-only root": own["readOnlyRootFilesystem"] is True,
            "no escalation": own["allowPrivilegeEscalation"] is False,
            "no capabilities": own["capabilities"] == {"drop": ["ALL"]},
            "no API token": spec["automountServiceAccountToken"] is False,
            "no service links": spec["enableServiceLinks"] is False,
            "scratch in emptyDir": all("emptyDir" in mounts.get(path, {}) for path in ("/tmp", "/var/lib/quintile")),
            "memory limit": "memory" in container["resources"]["limits"],
        }
        faults += [f"{name}: {promise}" for promise, kept in promises.items() if not kept]
    return faults


def secret_faults(items):
    """Secrets are named, never held: no Secret objects, no plain variables, no values in the configuration."""
    faults = [f"Secret/{name} is rendered" for name in of_kind(items, "Secret")]
    for spec in pod_specs(items):
        for container in spec["containers"]:
            variables = {variable["name"]: variable for variable in container["env"]}
            if "QUINTILE_DATABASE_URL" not in variables:
                faults.append(f"{container['name']}: no QUINTILE_DATABASE_URL")
            faults += [f"{container['name']}: {name} is inline" for name, variable in variables.items()
                       if re.search("URL|SECRET|PASSWORD|TOKEN|KEY", name) and "secretKeyRef" not in variable.get("valueFrom", {})]
    for name, item in of_kind(items, "ConfigMap").items():
        config = tomllib.loads(item["data"]["quintile.toml"])
        if "database_url" in config:
            faults.append(f"{name}: database_url")
        faults += [f"{name}: secrets.{key} is no path" for key, value in config["secrets"].items()
                   if not key.endswith("_file") or not value.startswith("/etc/quintile/secrets/")]
    if re.search(r"postgres(ql)?://|BEGIN [A-Z ]*PRIVATE KEY", json.dumps(items)):
        faults.append("a database URL or a private key in the text")
    return faults


def secret_reference_faults(items, secrets):
    """The references are the values', and the files are where quintile.toml says."""
    faults = []
    for spec in pod_specs(items):
        [container] = spec["containers"]
        [reference] = [variable["valueFrom"]["secretKeyRef"] for variable in container["env"]
                       if variable["name"] == "QUINTILE_DATABASE_URL"]
        if reference != {"name": secrets["database"]["existingSecret"], "key": secrets["database"]["key"]}:
            faults.append(f"{container['name']}: QUINTILE_DATABASE_URL from {reference}")
        [sources] = [volume["projected"]["sources"] for volume in spec["volumes"] if volume["name"] == "config"]
        files = {entry["path"]: (source["secret"]["name"], entry["key"])
                 for source in sources if "secret" in source for entry in source["secret"]["items"]}
        wanted = {"secrets/bootstrap.secret": tuple(secrets["bootstrap"].values()),
                  "secrets/master.key": tuple(secrets["masterKey"].values())}
        if files != wanted:
            faults.append(f"{container['name']}: files {files}")
    return faults


def endpoints_are_lifecycles(items, kind, tables, secrets):
    """quintile.toml has these tables, and the files that they name hold the secrets that the values name, in the pods of lifecycle alone."""
    named = tomllib.loads(of_kind(items, "ConfigMap")[f"{RELEASE}-config"]["data"]["quintile.toml"])[kind]
    mounted = {}
    for name, item in (of_kind(items, "Deployment") | of_kind(items, "Job")).items():
        [sources] = [each["projected"]["sources"] for each in item["spec"]["template"]["spec"]["volumes"] if each["name"] == "config"]
        mounted |= {(name, f"/etc/quintile/{entry['path']}"): (each["secret"]["name"], entry["key"]) for each in sources if "secret" in each
                    for entry in each["secret"]["items"] if not entry["path"].startswith("secrets/")}
    return named == tables and mounted == {(f"{RELEASE}-lifecycle", file): secret for file, secret in secrets.items()}


def webhooks_are_lifecycles(items):
    file = "/etc/quintile/webhooks/messages"
    tables = [{"name": "messages", "url": "https://hooks.example/quintile", "secret_file": file},
              {"name": "messages", "url": "https://crm.example", "secret_file": f"{file}@acme", "tenant": "acme", "retry_after_seconds": 30}]
    return endpoints_are_lifecycles(items, "webhooks", tables, {file: ("hooks", "signing"), f"{file}@acme": ("crm", "v1")})


def senders_are_lifecycles(items):
    file = "/etc/quintile/mail/care@acme"
    tables = [{"name": "care", "server": "smtp://mail.example:2525", "from": "care@shop.example"},
              {"name": "care", "server": "smtps://mail.acme.example", "from": '"Acme, Ihr Händler" <care@acme.example>', "user": "acme\\care",
               "password_file": file, "unsubscribe": "mailto:stop@acme.example?subject=stop", "tenant": "acme", "retry_after_seconds": 30}]
    return endpoints_are_lifecycles(items, "mail", tables, {file: ("smtp", "password")})


def history_of(items):
    return tomllib.loads(of_kind(items, "ConfigMap")[f"{RELEASE}-config"]["data"]["quintile.toml"])["history"]


def configuration_faults(items, ports, release=RELEASE):
    """quintile.toml names every role's port, and peers by the name and port of a Service that is there."""
    faults = []
    addresses = {f"http://{name}:{service['spec']['ports'][0]['port']}" for name, service in of_kind(items, "Service").items()}
    config_maps = of_kind(items, "ConfigMap")
    wanted_listen = {role.removesuffix("-control"): port for role, port in ports.items()}
    wanted_peers = {role.removesuffix("-control"): f"http://{release}-{role}:{port}" for role, port in ports.items()}
    for name, item in config_maps.items():
        config = tomllib.loads(item["data"]["quintile.toml"])
        if config["listen"] != {"host": "0.0.0.0", **wanted_listen}:
            faults.append(f"{name}: listen {config['listen']}")
        if config["peers"] != wanted_peers or set(config["peers"].values()) != addresses:
            faults.append(f"{name}: peers {config['peers']}")
    for spec in pod_specs(items):
        named = [source["configMap"]["name"] for volume in spec["volumes"] if "projected" in volume
                 for source in volume["projected"]["sources"] if "configMap" in source]
        faults += [f"the ConfigMap {name} is not rendered" for name in named if name not in config_maps]
    return faults


def hook_faults(release):
    """The migration and its configuration run before install and upgrade, in that order, apart from the manifest."""
    found = [(yaml.safe_load(hook["manifest"])["kind"], sorted(hook["events"]), hook.get("weight", 0)) for hook in release.get("hooks") or []]
    wanted = [("ConfigMap", ["pre-install", "pre-upgrade"], -1), ("Job", ["pre-install", "pre-upgrade"], 0)]
    faults = [] if sorted(found) == wanted else [f"hooks {found}"]
    if "kind: Job" in release["manifest"]:
        faults.append("a Job in the manifest")
    [job] = of_kind(objects(release), "Job").values()
    [container] = job["spec"]["template"]["spec"]["containers"]
    if container["args"] != ["migrate", "--config", "/etc/quintile/quintile.toml"]:
        faults.append(f"args {container['args']}")
    return faults


def override_faults(name, items):
    """What the overrides of GOOD_VALUES ask for is in the objects."""
    deployments = of_kind(items, "Deployment")
    versions = {item["metadata"]["labels"]["app.kubernetes.io/version"] for item in items}
    containers = [spec["containers"][0] for spec in pod_specs(items)]
    kept = {
        "default values": lambda: {c["image"] for c in containers} == {f"quintile:{version}" for version in versions},
        "another image": lambda: {(c["image"], c["imagePullPolicy"]) for c in containers} == {("registry.example/team/quintile:9.9.9", "Always")}
        and all(spec["imagePullSecrets"] == [{"name": "registry-credentials"}] for spec in pod_specs(items)),
        "another port and more replicas": lambda: deployments[f"{RELEASE}-scoring"]["spec"]["replicas"] == 3
        and not role_faults(items, {**PORTS, "scoring": 8802}) and not configuration_faults(items, {**PORTS, "scoring": 8802}),
        "own secrets": lambda: not secret_reference_faults(items, GOOD_VALUES["own secrets"]["secrets"]),
        "less history": lambda: history_of(items) == {"membership_days": 30, "size_days": 365, "label_days": 100, "monthly_label_days": 1830},
        "webhooks": lambda: webhooks_are_lifecycles(items),
        "senders of e-mails": lambda: senders_are_lifecycles(items),
        "no migration": lambda: not of_kind(items, "Job") and len(of_kind(items, "ConfigMap")) == 1,
    }.get(name, lambda: True)
    return [] if kept() else ["the override does not show"]


def note_faults(notes):
    wanted = ["kubectl", "port-forward", "grpcurl", "quintile token", f"service/{RELEASE}-access-control"]
    return [f"no {text!r}" for text in wanted if text not in notes]


def refusal_faults(chart, values, words, by_schema=True):
    try:
        chart.render(values)
    except Refused as refusal:
        message = str(refusal)
        as_expected = ("meet the specifications of the schema" in message) == by_schema
        return [] if as_expected and words in message else [f"refused, but with: {message}"]
    return ["rendered"]


def undocumented_values(chart_path):
    """Keys of values.yaml with no comment in the line above; resources' own keys are Kubernetes' to explain."""
    lines = (chart_path / "values.yaml").read_text().splitlines()
    return [line.strip() for before, line in zip(["", *lines], lines)
            if re.match(r"\s*[A-Za-z-]+:", line) and not before.lstrip().startswith("#")
            and not re.match(r"\s*(requests|limits):", line)]


# ---- running them


class Tally:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, faults):
        """Prints one line for the check; `faults` is called here, so that an exception fails this check alone."""
        try:
            found = faults()
        except Exception as error:  # a check that cannot run has failed, and the others still run
            found = [f"{type(error).__name__}: {error}"]
        if found:
            self.failed += 1
        else:
            self.passed += 1
        # An error of Helm's may have many lines: a check has one.
        print(" ".join(f"FAIL  {name}: {'; '.join(found)}".split()) if found else f"ok    {name}")


def run_checks(chart_path, kubeconfig):
    tally, chart = Tally(), Chart(chart_path, kubeconfig)
    default_secrets = yaml.safe_load((chart_path / "values.yaml").read_text())["secrets"]

    tally.check("the chart lints without findings", lambda: lint_findings(chart))
    tally.check("each value has a comment", lambda: undocumented_values(chart_path))

    for name, values in GOOD_VALUES.items():
        tally.check(f"{name}: valid objects", lambda: schema_faults(rendered := objects(chart.render(values))) + name_faults(rendered))
        tally.check(f"{name}: no secret is inline", lambda: secret_faults(objects(chart.render(values))))
        tally.check(f"{name}: as asked", lambda: override_faults(name, objects(chart.render(values))))

    def default():
        return chart.render({})

    tally.check("5 Deployments and 5 Services, with gRPC probes", lambda: role_faults(objects(default()), PORTS))
    tally.check("pods are hardened and bounded", lambda: hardening_faults(objects(default())))
    tally.check("secrets come from the Secrets named in the values", lambda: secret_reference_faults(objects(default()), default_secrets))
    tally.check("quintile.toml agrees with the Services", lambda: configuration_faults(objects(default()), PORTS))
    tally.check("the migration is a hook, with its configuration", lambda: hook_faults(default()))
    tally.check("the notes give the first commands", lambda: note_faults(default()["info"]["notes"]))

    longest = "r" * 53
    tally.check("the longest release name makes legal names", lambda: name_faults(objects(chart.render({}, longest))))
    tally.check("the longest release name keeps peers reachable",
                lambda: configuration_faults(objects(chart.render({}, longest)), PORTS, "r" * 48))

    for name, (values, path) in BAD_VALUES.items():
        tally.check(f"the values schema refuses {name}", lambda: refusal_faults(chart, values, path))

    for name, (values, words) in CONFLICTING_VALUES.items():
        tally.check(f"the chart refuses {name}", lambda: refusal_faults(chart, values, words, by_schema=False))

    print(f"{tally.passed} passed, {tally.failed} failed")
    return 0 if tally.failed == 0 else 1


def run_inside(directory, chart):
    """Runs this script again in the virtual environment, made and filled first when it is not."""
    python = directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(directory, with_pip=True)
    has_wheels = subprocess.run([python, "-c", "import helm_sdkpy, kubernetes_validate"], capture_output=True).returncode == 0
    if not has_wheels:
        # helm-sdkpy asks for a newer Python than it needs: it works on 3.11.
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--ignore-requires-python", *WHEELS], check=True)
    return subprocess.run([python, __file__, "--chart", chart]).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chart", type=Path, default=REPO_ROOT / "helm" / "quintile", help="the chart's directory")
    parser.add_argument("--venv", type=Path, help="a virtual environment to run in; made and filled when needed")
    arguments = parser.parse_args()
    if arguments.venv:
        return run_inside(arguments.venv, arguments.chart)
    if helm_sdkpy is None:
        print(f"needs {' and '.join(WHEELS)}: give --venv a directory to install them into", file=sys.stderr)
        return 2
    # Helm and its Kubernetes client keep caches and settings under HOME: let them be new, and gone afterwards.
    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = home
        return run_checks(arguments.chart.resolve(), Path(home) / "kubeconfig.json")


if __name__ == "__main__":
    sys.exit(main())
