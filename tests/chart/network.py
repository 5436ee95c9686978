"""Who reaches whom by the network policies: computed from them as a cluster's network does, and compared with what the services' code needs."""

import ipaddress
import re
from dataclasses import dataclass

from loopback import NAMESPACE, of_kind, workloads
from promises import REPO_ROOT

ROLES = ["ingestion", "scoring", "lifecycle", "segmentation", "access-control"]
OUTSIDE = "203.0.113.9"
# Ports that something may be behind, of which each pod should reach those alone that it needs.
TRIED_PORTS = [22, 25, 53, 80, 443, 465, 587, 2525, 4317, 4318, 5432, 6432, 7700, 7710, 8443]


@dataclass(frozen=True)
class Peer:
    """Somebody who connects or is connected to: a pod of a namespace, or an address."""

    labels: tuple = ()
    namespace: str = NAMESPACE
    address: str = ""


def pod(labels, namespace=NAMESPACE):
    return Peer(tuple(sorted(labels.items())), namespace)


NEIGHBOUR = pod({"app": "shop-front"})
STRANGER = pod({"app": "shop-front"}, "elsewhere")
NAME_SERVER = pod({"k8s-app": "kube-dns"}, "kube-system")
OTHER_RELEASE = pod({"app.kubernetes.io/name": "quintile", "app.kubernetes.io/instance": "other", "app.kubernetes.io/component": "ingestion"})


def selects(selector, labels):
    labels = dict(labels)
    holds = {"In": lambda value, values: value in values, "NotIn": lambda value, values: value not in values,
             "Exists": lambda value, _: value is not None, "DoesNotExist": lambda value, _: value is None}
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        holds[each["operator"]](labels.get(each["key"]), each.get("values", [])) for each in selector.get("matchExpressions", []))


def is_peer(rule, peer):
    if "ipBlock" in rule:
        address, block = peer.address and ipaddress.ip_address(peer.address), rule["ipBlock"]
        return bool(address) and address in ipaddress.ip_network(block["cidr"]) and not any(
            address in ipaddress.ip_network(each) for each in block.get("except", []))
    if peer.address:
        return False
    of_namespace = {"kubernetes.io/metadata.name": peer.namespace}
    in_namespace = selects(rule["namespaceSelector"], of_namespace) if "namespaceSelector" in rule else peer.namespace == NAMESPACE
    return in_namespace and selects(rule.get("podSelector", {}), peer.labels)


def direction_allows(policies, own, other, direction, port, protocol):
    """Whether the policies of a pod let it (Egress) reach the other, or (Ingress) be reached. Where none selects it, everything goes."""
    if own.address or own.namespace != NAMESPACE:
        return True
    binding = [policy["spec"] for policy in policies
               if direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], own.labels)]
    key, peers = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    rules = [rule for spec in binding for rule in spec.get(key) or []]
    return not binding or any(
        (not rule.get(peers) or any(is_peer(each, other) for each in rule[peers]))
        and (not rule.get("ports") or any(each["port"] == port and each["protocol"] == protocol for each in rule["ports"])) for rule in rules)


def connects(policies, source, target, port, protocol="TCP"):
    return (direction_allows(policies, source, target, "Egress", port, protocol)
            and direction_allows(policies, target, source, "Ingress", port, protocol))


def needed_calls():
    """Which role calls which, by the sources: the peers that a service takes, and those that it has by the crate that it is built on."""
    peer = re.compile(r"\bpeers\.(ingestion|scoring|lifecycle|segmentation|access)\b")

    def named(crate):
        text = "".join(path.read_text() for path in sorted((REPO_ROOT / "crates" / crate / "src").rglob("*.rs")))
        return text, {name.replace("access", "access-control") for name in peer.findall(text)}
    _, of_chain = named("chain")
    calls = {}
    for role in ROLES:
        text, own = named(role)
        calls[role] = own | (of_chain if "ServiceContext" in text else set())
    return calls


def needs_outside():
    """The roles that connect to servers that are not ours, by the sources."""
    return {role for role in ROLES if any(re.search(r"Outbound::new\(|AsyncSmtpConnection::connect", path.read_text())
                                          for path in (REPO_ROOT / "crates" / role / "src").rglob("*.rs"))}


def pods_of(items):
    return {component: pod(item["spec"]["template"]["metadata"]["labels"]) for component, item in workloads(items).items()}


def cover_faults(items):
    """Every pod is denied what no policy allows, in both directions, and pods of other releases are left alone."""
    policies = of_kind(items, "NetworkPolicy").values()
    faults = []
    for component, own in pods_of(items).items():
        denied = {kind for policy in policies for kind in policy["spec"]["policyTypes"]
                  if selects(policy["spec"]["podSelector"], own.labels) and not policy["spec"].get("ingress") and not policy["spec"].get("egress")}
        if denied != {"Ingress", "Egress"}:
            faults.append(f"{component}: default deny of {sorted(denied)}")
    return faults + [f"{policy['metadata']['name']}: selects another release" for policy in policies
                     if selects(policy["spec"]["podSelector"], OTHER_RELEASE.labels)]


def call_faults(items, ports):
    """In production, services reach each other where one calls the other, and nowhere else."""
    policies, pods, needed = of_kind(items, "NetworkPolicy").values(), pods_of(items), needed_calls()
    faults = []
    for caller, source in pods.items():
        for called, target in pods.items():
            is_needed = called in needed.get(caller, ())
            for port in {*ports.values(), 7700}:
                found = connects(policies, source, target, port)
                if found != (is_needed and port == ports.get(called)):
                    faults.append(f"{caller} {'reaches' if found else 'does not reach'} {called}:{port}")
    return faults


def side_faults(items):
    """Where nobody is a client, each side by itself lets no more happen than is needed: no role relies on what the other one's policy says."""
    policies, pods, needed = of_kind(items, "NetworkPolicy").values(), pods_of(items), needed_calls()
    ports = {role: item["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"]
             for role, item in workloads(items).items() if role != "migrate"}
    return [f"{caller} to {called}: {direction}" for caller, source in pods.items() for called, port in ports.items()
            for direction, own, other in (("Egress", source, pods[called]), ("Ingress", pods[called], source))
            if direction_allows(policies, own, other, direction, port, "TCP") != (called in needed.get(caller, ()))]


def client_faults(items, ports, clients=(NEIGHBOUR,), of_role=None):
    """Clients reach the roles' ports and no other; who is none reaches nothing, and nobody the migration."""
    policies, pods = of_kind(items, "NetworkPolicy").values(), pods_of(items)
    faults = []
    for role, port in ports.items():
        target = pods.get(role) or pods["embedded"]
        allowed = (of_role or {}).get(role, clients)
        for who in (NEIGHBOUR, STRANGER, OTHER_RELEASE, NAME_SERVER, Peer(address=OUTSIDE)):
            is_client = who in allowed or (NEIGHBOUR in allowed and who == OTHER_RELEASE)
            if connects(policies, who, target, port) != is_client:
                faults.append(f"{who} {'does not reach' if is_client else 'reaches'} {role}")
            if connects(policies, who, target, 7700):
                faults.append(f"{who} reaches {role} at another port")
            if "migrate" in pods and connects(policies, who, pods["migrate"], port):
                faults.append(f"{who} reaches the migration")
    return faults


def outside_faults(policies, pods, wanted, names=None):
    """Each pod reaches outside exactly the ports that it needs, and looks names up if there are any; pods of others count as outside."""
    faults, names = [], {component for component, ports in wanted.items() if ports} if names is None else names
    for component, own in pods.items():
        ports = wanted.get(component, set())
        for target in (Peer(address=OUTSIDE), STRANGER):
            found = {port for port in TRIED_PORTS if connects(policies, own, target, port)}
            if found != ports:
                faults.append(f"{component} reaches the ports {sorted(found)} of {target}")
        for protocol in ("UDP", "TCP"):
            if connects(policies, own, NAME_SERVER, 53, protocol) != (component in names):
                faults.append(f"{component}: names by {protocol}")
        if connects(policies, own, Peer(address="169.254.169.254"), 80):
            faults.append(f"{component} reaches the metadata of its node")
    return faults


def reach_faults(items, wanted, names=None):
    return outside_faults(of_kind(items, "NetworkPolicy").values(), pods_of(items), wanted, names)


def address_faults(items, addresses, reached):
    """The pods reach, of some addresses, those alone that the values name, each at the ports and from the components that have to do with it."""
    policies = of_kind(items, "NetworkPolicy").values()
    found = {(component, port, address) for component, own in pods_of(items).items() for port in TRIED_PORTS for address in addresses
             if connects(policies, own, Peer(address=address), port)}
    return [f"{'lacks' if each in reached else 'reaches'} {each}" for each in sorted(found ^ reached)]
