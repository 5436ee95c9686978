"""Helm's engine without a cluster.

It can install but not render alone. So it installs against a loopback API server that knows the kinds of objects, keeps the release that Helm stores
first (manifest, hooks and notes), and then refuses: nothing is created.
"""

import asyncio
import base64
import gzip
import http.server
import json
import re
import threading
import tomllib

import helm_sdkpy
import yaml

# The oldest that Chart.yaml allows, and the newest whose schemas are at hand.
KUBERNETES_VERSIONS = ["1.27", "1.37"]
RELEASE = "shop"
NAMESPACE = "shops"

# What the loopback server can be asked to hold. A new kind of object in the chart needs a line here.
KINDS = {
    "v1": {"configmaps": "ConfigMap", "secrets": "Secret", "services": "Service", "serviceaccounts": "ServiceAccount",
           "persistentvolumeclaims": "PersistentVolumeClaim", "pods": "Pod"},
    "apps/v1": {"deployments": "Deployment", "statefulsets": "StatefulSet"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "batch/v1": {"jobs": "Job", "cronjobs": "CronJob"},
    "gateway.networking.k8s.io/v1": {"grpcroutes": "GRPCRoute"},
    "networking.k8s.io/v1": {"ingresses": "Ingress", "networkpolicies": "NetworkPolicy"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "rbac.authorization.k8s.io/v1": {"roles": "Role", "rolebindings": "RoleBinding"},
}

# What it holds where the cluster has the Prometheus operator.
MONITORING_KINDS = {"monitoring.coreos.com/v1": {"servicemonitors": "ServiceMonitor", "prometheusrules": "PrometheusRule"}}


class ApiServer(http.server.ThreadingHTTPServer):
    """As much of the Kubernetes API as a first install asks for. `release` is the last one that Helm stored."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), ApiHandler)
        self.release = None
        self.version = KUBERNETES_VERSIONS[-1]
        self.kinds = KINDS
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
    # Each answer is sent in two parts, the second of which would wait for the first to be acknowledged.
    disable_nagle_algorithm = True

    def do_GET(self):
        path, _, query = self.path.partition("?")
        group_version = path.removeprefix("/apis/").removeprefix("/api/")
        if path == "/version":
            major, minor = self.server.version.split(".")
            self.answer(200, {"major": major, "minor": minor, "gitVersion": f"v{major}.{minor}.0"})
        elif path == "/api":
            self.answer(200, {"kind": "APIVersions", "apiVersion": "v1", "versions": ["v1"]})
        elif path == "/apis":
            self.answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(name) for name in self.server.kinds if "/" in name]})
        elif group_version in self.server.kinds:
            self.answer(200, resource_list(group_version, self.server.kinds[group_version]))
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


def resource_list(group_version, kinds):
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
            "resources": [{"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": True, "verbs": verbs}
                          for plural, kind in kinds.items()]}


class Refused(Exception):
    """Helm would not render: the values schema, or a template, said no."""


class Chart:
    """The chart and the engine that renders it."""

    def __init__(self, path, kubeconfig):
        self.path = str(path)
        self.rendered = {}
        self.server = ApiServer()
        kubeconfig.write_text(self.server.kubeconfig())
        # The engine asks once what the cluster is, and remembers it: each version of Kubernetes has one of its own.
        self.config = {(version, monitoring): helm_sdkpy.Configuration(namespace=NAMESPACE, kubeconfig=str(kubeconfig))
                       for version in KUBERNETES_VERSIONS for monitoring in (False, True)}

    def lint(self):
        return asyncio.run(helm_sdkpy.Lint(self.config[KUBERNETES_VERSIONS[-1], False]).run(self.path))

    def render(self, values, release=RELEASE, version=KUBERNETES_VERSIONS[-1], monitoring=False):
        """The release as Helm would store it in a cluster of that version, with the Prometheus operator or without, hooks and notes included.
        Rendered once for the same question."""
        question = json.dumps([values, release, version, monitoring])
        if question in self.rendered:
            return self.rendered[question]
        self.server.release, self.server.version = None, version
        self.server.kinds = KINDS | MONITORING_KINDS if monitoring else KINDS
        try:
            asyncio.run(helm_sdkpy.Install(self.config[version, monitoring]).run(release, self.path, values=values, wait=False, timeout=20))
        except helm_sdkpy.HelmError as error:
            if self.server.release is None:
                raise Refused(str(error)) from None
        self.rendered[question] = self.server.release
        return self.server.release


def parsed(manifest):
    # Several times as fast as `safe_load_all`, where there is much to read.
    return [item for item in yaml.load_all(manifest, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if item]


def hooks(release):
    """The objects that are there while the hooks run: none of the manifest's, at the first install."""
    return [item for hook in release.get("hooks") or [] for item in parsed(hook["manifest"])]


def objects(release):
    """All the objects of a release: those of the manifest, then the hooks'."""
    return parsed(release["manifest"]) + hooks(release)


def of_kind(items, kind):
    return {item["metadata"]["name"]: item for item in items if item["kind"] == kind}


def workloads(items):
    """What makes pods, by the component that they are."""
    return {item["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: item for item in items
            if item["kind"] in ("Deployment", "Job", "StatefulSet")}


def pod_specs(items):
    return [item["spec"]["template"]["spec"] for item in workloads(items).values()]


def role_services(items):
    """The Services of the roles, without the one by which metrics are scraped."""
    return {name: item for name, item in of_kind(items, "Service").items() if not name.endswith("-metrics")}


def config_maps(items):
    """The ConfigMaps with a configuration, without dashboards."""
    return {name: item for name, item in of_kind(items, "ConfigMap").items() if "quintile.toml" in item["data"]}


def config_of(items, name=None):
    """quintile.toml of a ConfigMap; without a name, of the one that the serving pods read."""
    found = config_maps(items)
    [name] = [name] if name else [each for each in found if each.endswith("-config")]
    return tomllib.loads(found[name]["data"]["quintile.toml"])


def mounted_secrets(spec):
    """The files below /etc/quintile that come from Secrets, each with the Secret's name and key."""
    [sources] = [volume["projected"]["sources"] for volume in spec["volumes"] if volume["name"] == "config"]
    return {f"/etc/quintile/{entry['path']}": (source["secret"]["name"], entry["key"])
            for source in sources if "secret" in source for entry in source["secret"]["items"]}
