"""What each of the overrides asks for, and whether it is in the objects."""

import copy

from loopback import RELEASE, config_maps, config_of, mounted_secrets, of_kind, pod_specs, workloads
from network import NAME_SERVER, NEIGHBOUR, OTHER_RELEASE, STRANGER, address_faults, call_faults, client_faults, reach_faults
from overrides import GOOD_VALUES, TOLERATION
from promises import PORTS, configuration_faults, probe_faults, secret_reference_faults, service_faults
from scaling import autoscalers, budget_faults, scheduling_of, spread_faults

FILE = "/etc/quintile"
TLS_FILES = {"certificate_file": f"{FILE}/tls/certificate.pem", "key_file": f"{FILE}/tls/key.pem", "authority_file": f"{FILE}/tls/authority.pem"}


def endpoints_are_lifecycles(items, kind, tables, secrets):
    """quintile.toml has these tables, and the files that they name hold the secrets that the values name, in the pods of lifecycle alone."""
    mounted = {}
    for component, item in workloads(items).items():
        mounted |= {(component, file): secret for file, secret in mounted_secrets(item["spec"]["template"]["spec"]).items()
                    if not file.startswith(f"{FILE}/secrets/")}
    return config_of(items)[kind] == tables and mounted == {("lifecycle", file): secret for file, secret in secrets.items()}


def webhooks_are_lifecycles(items):
    file = f"{FILE}/webhooks/messages"
    tables = [{"name": "messages", "url": "https://hooks.example/quintile", "secret_file": file},
              {"name": "messages", "url": "https://crm.example", "secret_file": f"{file}@acme", "tenant": "acme", "retry_after_seconds": 30}]
    return endpoints_are_lifecycles(items, "webhooks", tables, {file: ("hooks", "signing"), f"{file}@acme": ("crm", "v1")})


def senders_are_lifecycles(items):
    file = f"{FILE}/mail/care@acme"
    tables = [{"name": "care", "server": "smtp://mail.example:2525", "from": "care@shop.example"},
              {"name": "care", "server": "smtps://mail.acme.example", "from": '"Acme, Ihr Händler" <care@acme.example>', "user": "acme\\care",
               "password_file": file, "unsubscribe": "mailto:stop@acme.example?subject=stop", "tenant": "acme", "retry_after_seconds": 30}]
    return endpoints_are_lifecycles(items, "mail", tables, {file: ("smtp", "password")})


def images(items):
    versions = {item["metadata"]["labels"]["app.kubernetes.io/version"] for item in items}
    return {spec["containers"][0]["image"] for spec in pod_specs(items)} == {f"quintile:{version}" for version in versions}


def another_image(items):
    containers = [spec["containers"][0] for spec in pod_specs(items)]
    return ({(each["image"], each["imagePullPolicy"]) for each in containers} == {("registry.example/team/quintile:9.9.9", "Always")}
            and all(spec["imagePullSecrets"] == [{"name": "registry-credentials"}] for spec in pod_specs(items)))


def another_port(items):
    ports = {**PORTS, "scoring": 8802}
    return (of_kind(items, "Deployment")[f"{RELEASE}-scoring"]["spec"]["replicas"] == 3 and not call_faults(items, ports)
            and not service_faults(items, ports) and not probe_faults(items, ports, grpc) and not configuration_faults(items, ports))


def grpc(port, _):
    return {"grpc": {"port": port, "service": ""}}


def asked_within(_, component):
    """The binary asks the services of its own pod: all five in the mode embedded."""
    role = [] if component == "embedded" else ["--role", component]
    return {"exec": {"command": ["/usr/local/bin/quintile", "health", *role, "--config", f"{FILE}/quintile.toml"]}}


def authority_of_the_database(items):
    return all(mounted_secrets(spec)[f"{FILE}/secrets/database-authority.pem"] == ("pg-ca", "root.crt") for spec in pod_specs(items))


def tls(items, secrets, mutual=False):
    """Servers and clients speak TLS by those Secrets, and whoever probes knows that."""
    serving = {component: mounted_secrets(item["spec"]["template"]["spec"]) for component, item in workloads(items).items() if component != "migrate"}
    wanted = {component: dict(zip(TLS_FILES.values(), secrets(component))) for component in serving}
    port_of = {**PORTS, "embedded": PORTS["segmentation"]}
    return (config_of(items)["server"]["tls"] == {**TLS_FILES, "require_client_certificate": mutual}
            and {component: {file: found[file] for file in TLS_FILES.values()} for component, found in serving.items()} == wanted
            and not probe_faults(items, port_of, asked_within) and not service_faults(items, PORTS, app_protocol="https")
            and ("embedded" in serving or not configuration_faults(items, PORTS, scheme="https")))


def shared_certificate(_):
    return [("quintile-tls", "tls.crt"), ("quintile-tls", "tls.key"), ("quintile-tls", "ca.crt")]


def own_certificate(component):
    return [("scoring-tls" if component == "scoring" else "suite", key) for key in ("chain", "key", "ca")]


def autoscaled(items):
    scalers = autoscalers(items)
    spec = scalers[f"{RELEASE}-ingestion"]["spec"]
    return (set(scalers) == {f"{RELEASE}-ingestion", f"{RELEASE}-scoring"} and (spec["minReplicas"], spec["maxReplicas"]) == (1, 6)
            and spec["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 60}
            and list(of_kind(items, "PodDisruptionBudget")) == [f"{RELEASE}-ingestion"])


def scheduled(items):
    values = GOOD_VALUES["nodes for all, and others for one"]
    every = {key: values[key] for key in ("nodeSelector", "affinity", "priorityClassName")} | {
        "tolerations": [TOLERATION], "podAnnotations": {"team": "crm"}}
    one = {"nodeSelector": {"pool": "memory"}, "tolerations": None, "affinity": {"podAntiAffinity": {}}, "priorityClassName": "higher",
           "podAnnotations": {"team": "crm", "tier": "memory"}}
    checksums = {item["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for component, item in workloads(items).items()
                 if component != "migrate"}
    return scheduling_of(items) == {each: one if each == "segmentation" else every for each in (*PORTS, "migrate")} and "mine" not in checksums


COLLECTOR = "192.0.2.49"


def metrics_port(items):
    """The container ports of metrics, of all pods."""
    return {port["containerPort"] for spec in pod_specs(items) for port in spec["containers"][0].get("ports", []) if port["name"] == "metrics"}


def traced(items, endpoint, ratio, authority=None):
    """Pods send traces there, with the collector's authority in the pods that serve, if it has one of its own."""
    wanted = {"otlp_endpoint": endpoint, "trace_ratio": ratio, "metrics_address": "0.0.0.0:7710"} | (
        {"otlp_authority_file": authority} if authority else {})
    mounted = {component: mounted_secrets(item["spec"]["template"]["spec"]).get(authority) for component, item in workloads(items).items()}
    return config_of(items)["telemetry"] == wanted and mounted == {
        component: ("collector", "root.crt") if authority and component != "migrate" else None for component in mounted}


# Addresses that the values NETWORK name for the database, webhooks, mail and issuers, and one that they except.
DATABASE, WEBHOOKS, MAIL, ISSUERS, EXCEPTED = "198.51.100.9", "192.0.2.3", "192.0.2.17", "192.0.2.33", "198.51.100.200"


def everything_outside(items):
    """Each pod reaches the addresses that the values name for what it needs, and clients are who they say."""
    serving = set(workloads(items))
    of = {"lifecycle": "embedded", "access-control": "embedded"} if "embedded" in serving else {}
    sends, asks = of.get("lifecycle", "lifecycle"), of.get("access-control", "access-control")
    reached = {(sends, 443, WEBHOOKS), (sends, 8443, WEBHOOKS), (sends, 465, MAIL), (sends, 587, MAIL), (sends, 2525, MAIL), (asks, 443, ISSUERS)}
    reached |= set() if of else {(component, 6432, DATABASE) for component in serving}
    clients = {"lifecycle": (), "access-control": (NEIGHBOUR, STRANGER, OTHER_RELEASE, NAME_SERVER)}
    faults = (reach_faults(items, {}, names=serving) + address_faults(items, (DATABASE, WEBHOOKS, MAIL, ISSUERS, EXCEPTED), reached)
              + client_faults(items, PORTS, (STRANGER,), clients) + ([] if of else call_faults(items, PORTS)))
    return not faults


def gateway(items):
    routes = {name: item["spec"] for name, item in of_kind(items, "GRPCRoute").items()}
    return routes == {f"{RELEASE}-{role}": {
        "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "grpc"}], "hostnames": [host],
        "rules": [{"backendRefs": [{"name": f"{RELEASE}-{role}", "port": PORTS[role]}]}]}
        for role, host in (("ingestion", "ingest.shop.example"), ("access-control", "access.shop.example"))}


def ingress(items, role, host, protocol, **wanted):
    [item] = copy.deepcopy(list(of_kind(items, "Ingress").values()))
    annotations, spec = item["metadata"]["annotations"], item["spec"]
    backend = {"service": {"name": f"{RELEASE}-{role}", "port": {"name": "grpc"}}}
    return (annotations.pop("nginx.ingress.kubernetes.io/backend-protocol") == protocol and annotations == wanted.pop("annotations", {})
            and spec.pop("rules") == [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
            and spec.pop("tls")[0]["hosts"] == [host] and spec == wanted)


def claim(items):
    [template] = of_kind(items, "StatefulSet")[RELEASE]["spec"]["volumeClaimTemplates"]
    return template["spec"]


def existing_claim(items):
    spec = of_kind(items, "StatefulSet")[RELEASE]["spec"]
    volumes = [volume for volume in spec["template"]["spec"]["volumes"] if volume["name"] == "data"]
    return "volumeClaimTemplates" not in spec and volumes == [{"name": "data", "persistentVolumeClaim": {"claimName": "shop-data"}}]


def asked(items, default_secrets):
    """By the name of the override, whether it shows."""
    ports = {**PORTS, "ingestion": 8801}
    return {
        "default values": lambda: images(items),
        "another image": lambda: another_image(items),
        "another port and more replicas": lambda: another_port(items),
        "own secrets": lambda: not secret_reference_faults(items, GOOD_VALUES["own secrets"]["secrets"]),
        "less history": lambda: config_of(items)["history"] == {
            "membership_days": 30, "size_days": 365, "label_days": 100, "monthly_label_days": 1830},
        "webhooks": lambda: webhooks_are_lifecycles(items),
        "senders of e-mails": lambda: senders_are_lifecycles(items),
        "no migration": lambda: not of_kind(items, "Job") and len(config_maps(items)) == 1,
        "an authority of the database": lambda: authority_of_the_database(items),
        "TLS": lambda: tls(items, shared_certificate),
        "mutual TLS with a certificate per role": lambda: tls(items, own_certificate, mutual=True),
        "a long drain": lambda: config_of(items)["server"]["drain_seconds"] == 90,
        "logs for machines": lambda: config_of(items)["log"] == {"filter": "info,quintile_rpc=debug", "json": True},
        "no metrics": lambda: "telemetry" not in config_of(items) and not metrics_port(items) and not [
            name for kind in ("Service", "ConfigMap") for name in of_kind(items, kind) if name.endswith(("-metrics", "-dashboard"))],
        "metrics at another port, and no dashboard": lambda: config_of(items)["telemetry"] == {"metrics_address": "0.0.0.0:9464"}
        and metrics_port(items) == {9464} and f"{RELEASE}-dashboard" not in of_kind(items, "ConfigMap")
        and not client_faults(items, {**PORTS, "scoring": 9464}, of_role={"scoring": ()}),
        "traces": lambda: traced(items, "http://collector.monitoring:4317", 1) and not reach_faults(
            items, {role: {5432, 4317} for role in PORTS} | {"migrate": {5432}}),
        "traces to a collector of one's own authority": lambda: traced(items, "https://[2001:db8::9]:4318", 0, f"{FILE}/telemetry/authority.pem")
        and not address_faults(items, (COLLECTOR, DATABASE), {(role, 4318, COLLECTOR) for role in PORTS}
                               | {(component, 5432, address) for component in workloads(items) for address in (COLLECTOR, DATABASE)}),
        "more pods of each role that may have them": lambda: len(of_kind(items, "PodDisruptionBudget")) == 4 and not budget_faults(items),
        "autoscaling": lambda: autoscaled(items),
        "two pods may go at once": lambda: [each["spec"]["maxUnavailable"] for each in of_kind(items, "PodDisruptionBudget").values()] == [2],
        "no budgets": lambda: not of_kind(items, "PodDisruptionBudget"),
        "a role that is stopped": lambda: of_kind(items, "Deployment")[f"{RELEASE}-segmentation"]["spec"]["replicas"] == 0,
        "insisting on zones": lambda: not spread_faults(items, {"topology.kubernetes.io/zone": "DoNotSchedule"}),
        "spread nowhere": lambda: not spread_faults(items, {}),
        "nodes for all, and others for one": lambda: scheduled(items),
        "no network policies": lambda: not of_kind(items, "NetworkPolicy"),
        "a network with everything in it": lambda: everything_outside(items),
        "routes by a gateway": lambda: gateway(items),
        "ingresses": lambda: ingress(items, "segmentation", "segments.shop.example", "GRPC", ingressClassName="nginx",
                                     annotations={"nginx.ingress.kubernetes.io/proxy-read-timeout": "3600"}),
        "ingresses to TLS": lambda: ingress(items, "scoring", "scores.shop.example", "GRPCS"),
        "embedded": lambda: claim(items) == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}
        and "secrets" not in config_of(items),
        "embedded with existing secrets": lambda: not secret_reference_faults(items, default_secrets),
        "embedded on a claim that is there": lambda: existing_claim(items),
        "embedded on a volume of one's own": lambda: claim(items) == {
            "accessModes": ["ReadWriteOncePod"], "storageClassName": "fast", "resources": {"requests": {"storage": "200Gi"}}},
        "embedded with TLS": lambda: tls(items, shared_certificate),
        "embedded with what production has": lambda: not service_faults(items, ports) and not client_faults(items, ports, of_role={"ingestion": ()}),
        "embedded with everything outside": lambda: everything_outside(items),
        "embedded by a gateway": lambda: of_kind(items, "GRPCRoute")[f"{RELEASE}-ingestion"]["spec"]["parentRefs"] == [
            {"name": "public", "port": 443}],
    }
