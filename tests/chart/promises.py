"""What the chart promises of its objects, in both modes. Each check returns what is wrong, so that an empty answer passes."""

import hashlib
import json
import re
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml
from loopback import NAMESPACE, RELEASE, config_maps, config_of, mounted_secrets, of_kind, pod_specs, role_services, workloads
from monitoring import CUSTOM_RESOURCES

REPO_ROOT = Path(__file__).resolve().parents[2]
PORTS = {"ingestion": 7701, "scoring": 7702, "lifecycle": 7703, "segmentation": 7704, "access-control": 7705}

# The part of the Gateway API's definition of a GRPCRoute that the chart has to do with: its schema is that of a custom resource, and comes with none.
GRPC_ROUTE = {
    "type": "object", "additionalProperties": False, "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "gateway.networking.k8s.io/v1"}, "kind": {"const": "GRPCRoute"}, "metadata": {"type": "object"},
        "spec": {"type": "object", "additionalProperties": False, "required": ["parentRefs", "hostnames", "rules"], "properties": {
            "parentRefs": {"type": "array", "minItems": 1, "maxItems": 32, "items": {
                "type": "object", "additionalProperties": False, "required": ["name"], "properties": {
                    "group": {"type": "string"}, "kind": {"type": "string"}, "namespace": {"type": "string"}, "name": {"type": "string"},
                    "sectionName": {"type": "string"}, "port": {"type": "integer"}}}},
            "hostnames": {"type": "array", "minItems": 1, "maxItems": 16, "items": {
                "type": "string", "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"}},
            "rules": {"type": "array", "minItems": 1, "items": {
                "type": "object", "additionalProperties": False, "properties": {"backendRefs": {"type": "array", "items": {
                    "type": "object", "additionalProperties": False, "required": ["name", "port"],
                    "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}}}}}}},
    },
}


def schema_faults(items, version):
    """Every object against the strict schema of that Kubernetes; an unknown kind is a fault too."""
    faults = [] if items else ["nothing was rendered"]
    for item in items:
        name = f"{item.get('kind')}/{item.get('metadata', {}).get('name')} (Kubernetes {version})"
        try:
            if item.get("kind") in CUSTOM_RESOURCES:
                jsonschema.validate(item, CUSTOM_RESOURCES[item["kind"]])
            elif item.get("kind") == "GRPCRoute":
                jsonschema.validate(item, GRPC_ROUTE)
            else:
                kubernetes_validate.validate(item, version, strict=True)
        except jsonschema.ValidationError as error:
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


def hardening_faults(items):
    """Every pod fits the `restricted` Pod Security Standard, writes only where a volume is, and has limits."""
    faults = []
    for component, item in workloads(items).items():
        spec = item["spec"]["template"]["spec"]
        [container] = spec["containers"]
        pod, own = spec["securityContext"], container["securityContext"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        volumes |= {claim["metadata"]["name"]: {"persistentVolumeClaim": claim} for claim in item["spec"].get("volumeClaimTemplates", [])}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        data = "persistentVolumeClaim" if component == "embedded" else "emptyDir"
        promises = {
            "not root": pod["runAsNonRoot"] is True and pod["runAsUser"] > 0,
            "seccomp": pod["seccompProfile"] == {"type": "RuntimeDefault"},
            "read-only root": own["readOnlyRootFilesystem"] is True,
            "no escalation": own["allowPrivilegeEscalation"] is False,
            "no capabilities": own["capabilities"] == {"drop": ["ALL"]},
            "no API token": spec["automountServiceAccountToken"] is False,
            "no service links": spec["enableServiceLinks"] is False,
            "scratch in emptyDir": "emptyDir" in mounts.get("/tmp", {}),
            f"data in {data}": data in mounts.get("/var/lib/quintile", {}),
            "read-only configuration": all(mount.get("readOnly") for mount in container["volumeMounts"] if mount["name"] == "config"),
            "memory limit": "memory" in container["resources"]["limits"],
        }
        faults += [f"{component}: {promise}" for promise, kept in promises.items() if not kept]
    return faults


def secret_faults(items):
    """Secrets are named, never held: no Secret objects, no plain variables, no values in the configuration."""
    faults = [f"Secret/{name} is rendered" for name in of_kind(items, "Secret")]
    for component, item in workloads(items).items():
        [container] = item["spec"]["template"]["spec"]["containers"]
        variables = {variable["name"]: variable for variable in container.get("env", [])}
        if ("QUINTILE_DATABASE_URL" in variables) == (component == "embedded"):
            faults.append(f"{component}: the variables {sorted(variables)}")
        faults += [f"{component}: {name} is inline" for name, variable in variables.items()
                   if re.search("URL|SECRET|PASSWORD|TOKEN|KEY", name) and "secretKeyRef" not in variable.get("valueFrom", {})]
    config = config_of(items)
    if "database_url" in config:
        faults.append("database_url in the configuration")
    faults += [f"secrets.{key} is no path" for key, value in config.get("secrets", {}).items()
               if not key.endswith("_file") or not value.startswith("/etc/quintile/secrets/")]
    if re.search(r"postgres(ql)?://|BEGIN [A-Z ]*PRIVATE KEY", json.dumps(items)):
        faults.append("a database URL or a private key in the text")
    return faults


def secret_reference_faults(items, secrets):
    """The references are the values', and the files are where quintile.toml says."""
    faults = []
    wanted = {"/etc/quintile/secrets/bootstrap.secret": tuple(secrets["bootstrap"].values()),
              "/etc/quintile/secrets/master.key": tuple(secrets["masterKey"].values())}
    for spec in pod_specs(items):
        [container] = spec["containers"]
        references = [variable["valueFrom"]["secretKeyRef"] for variable in container.get("env", [])
                      if variable["name"] == "QUINTILE_DATABASE_URL"]
        if any(reference != {"name": secrets["database"]["existingSecret"], "key": secrets["database"]["key"]} for reference in references):
            faults.append(f"{container['name']}: QUINTILE_DATABASE_URL from {references}")
        if mounted_secrets(spec) != wanted:
            faults.append(f"{container['name']}: files {mounted_secrets(spec)}")
    return faults


def files_of(table):
    """The files that a table of quintile.toml names."""
    return {value for key, value in table.items() if key.endswith("_file")}


def file_faults(items):
    """Each pod finds every file that quintile.toml has it read, and no secret that it has nothing to do with."""
    config = config_of(items)
    faults = []
    of_all = files_of(config.get("secrets", {}))
    of_servers = files_of(config["server"].get("tls", {})) | files_of(config.get("telemetry", {}))
    of_lifecycle = {file for table in config.get("webhooks", []) + config.get("mail", []) for file in files_of(table)}
    for component, item in workloads(items).items():
        wanted = of_all | (of_servers if component != "migrate" else set()) | (of_lifecycle if component in ("lifecycle", "embedded") else set())
        found = set(mounted_secrets(item["spec"]["template"]["spec"])) - {"/etc/quintile/secrets/database-authority.pem"}
        if found != wanted:
            faults.append(f"{component}: has {sorted(found)} for {sorted(wanted)}")
    return faults


def setting_faults(items):
    """The binary refuses a setting that it does not know: all of them are in its reference."""
    known = set(re.findall(r"^\| `([^`]+)` \|", (REPO_ROOT / "CONFIGURATION.md").read_text(), re.MULTILINE))

    def named(table, prefix=""):
        for key, value in table.items():
            if isinstance(value, dict):
                yield from named(value, f"{prefix}{key}.")
            elif isinstance(value, list):
                yield from (name for entry in value for name in named(entry, f"{prefix}{key}[]."))
            else:
                yield prefix + key
    return [f"no setting {name}" for name in sorted(set(named(config_of(items))) - known)]


def checksum_faults(items):
    """A changed configuration changes the pods that read it, which so are replaced."""
    text = of_kind(items, "ConfigMap")[f"{RELEASE}-config"]["data"]["quintile.toml"].strip()
    wanted = hashlib.sha256(text.encode()).hexdigest()
    return [f"{component}: another checksum" for component, item in workloads(items).items()
            if component != "migrate" and item["spec"]["template"]["metadata"]["annotations"].get("checksum/config") != wanted]


def configuration_faults(items, ports, release=RELEASE, scheme="http"):
    """quintile.toml names every role's port, and peers by the name and port of a Service that is there."""
    faults = []
    addresses = {f"{scheme}://{name}:{service['spec']['ports'][0]['port']}" for name, service in role_services(items).items()}
    wanted_listen = {role.removesuffix("-control"): port for role, port in ports.items()}
    wanted_peers = {role.removesuffix("-control"): f"{scheme}://{release}-{role}:{port}" for role, port in ports.items()}
    for name in config_maps(items):
        config = config_of(items, name)
        if config["listen"] != {"host": "0.0.0.0", **wanted_listen}:
            faults.append(f"{name}: listen {config['listen']}")
        if config["peers"] != wanted_peers or set(config["peers"].values()) != addresses:
            faults.append(f"{name}: peers {config['peers']}")
    return faults


def shared_configuration_faults(items):
    """The pods read a ConfigMap that is there, the migration its own, and both say the same."""
    found = config_maps(items)
    named = {source["configMap"]["name"] for spec in pod_specs(items) for volume in spec["volumes"] if "projected" in volume
             for source in volume["projected"]["sources"] if "configMap" in source}
    faults = [] if named == set(found) else [f"the ConfigMaps {sorted(found)}, read {sorted(named)}"]
    return faults if len({item["data"]["quintile.toml"] for item in found.values()}) == 1 else [*faults, "they differ"]


def service_faults(items, ports, release=RELEASE, app_protocol="kubernetes.io/h2c"):
    """A Service of each role, at its port, that selects pods of one workload, which have a container port of that name and number."""
    faults = []
    services, labels = role_services(items), {}
    for component, item in workloads(items).items():
        labels[component] = item["spec"]["template"]["metadata"]["labels"]
        if component != "migrate" and not item["spec"]["selector"]["matchLabels"].items() <= labels[component].items():
            faults.append(f"{component}: does not select its own pods")
    if set(services) != {f"{release}-{role}" for role in ports}:
        faults.append(f"Services: {sorted(services)}")
    for role, port in ports.items():
        service = services[f"{release}-{role}"]["spec"]
        selected = [component for component, own in labels.items() if service["selector"].items() <= own.items()]
        if selected not in ([role], ["embedded"]):
            faults.append(f"{role}: the Service selects {selected}")
            continue
        [container] = workloads(items)[selected[0]]["spec"]["template"]["spec"]["containers"]
        [own] = service["ports"]
        targets = {entry["name"]: entry["containerPort"] for entry in container["ports"]}
        if own["port"] != port or targets.get(own["targetPort"]) != port or config_of(items, f"{release}-config")["listen"][
                role.removesuffix("-control")] != port or own["appProtocol"] != app_protocol:
            faults.append(f"{role}: service port {own}, container ports {targets}")
    return faults


def probe_faults(items, port_of, probe_of):
    """Each serving container has all three probes, of its own port and component."""
    faults = []
    for component, item in workloads(items).items():
        if component == "migrate":
            continue
        [container] = item["spec"]["template"]["spec"]["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            found = {key: value for key, value in container.get(probe, {}).items() if key in ("grpc", "tcpSocket", "exec", "httpGet")}
            if found != probe_of(port_of[component], component):
                faults.append(f"{component}: {probe} {found}")
    return faults


def hook_faults(release, has_policy=True):
    """The migration, its configuration and its network policy run before install and upgrade, in that order, apart from the manifest."""
    found = [(yaml.safe_load(hook["manifest"])["kind"], sorted(hook["events"]), hook.get("weight", 0)) for hook in release.get("hooks") or []]
    before = ["pre-install", "pre-upgrade"]
    wanted = [("ConfigMap", before, -1), ("Job", before, 0)] + ([("NetworkPolicy", before, -1)] if has_policy else [])
    faults = [] if sorted(found) == wanted else [f"hooks {found}"]
    if "kind: Job" in release["manifest"]:
        faults.append("a Job in the manifest")
    [job] = [item for hook in release["hooks"] if (item := yaml.safe_load(hook["manifest"]))["kind"] == "Job"]
    [container] = job["spec"]["template"]["spec"]["containers"]
    if container["args"] != ["migrate", "--config", "/etc/quintile/quintile.toml"]:
        faults.append(f"args {container['args']}")
    return faults


def note_faults(release, workload, *more):
    wanted = ["kubectl", f"exec {workload} -- quintile token --config /etc/quintile/quintile.toml --role admin",
              f"-n {NAMESPACE} port-forward service/{RELEASE}-access-control 7705", "grpcurl ", "127.0.0.1:7705 list", *more]
    return [f"no {text!r}" for text in wanted if text not in release["info"]["notes"]]
