"""What the chart says of metrics: who scrapes them, the alerts and the dashboard, against the metrics that the binary tells."""

import json
import re
from pathlib import Path

import promql_parser
from loopback import NAMESPACE, RELEASE, of_kind, workloads

REPO_ROOT = Path(__file__).resolve().parents[2]
# Series that others tell, and what they are told by.
OF_OTHERS = {"up": set(), "kube_pod_container_resource_limits": {"container", "resource"}}
# What Prometheus puts on every series that it scrapes.
OF_SCRAPING = {"namespace", "job", "pod", "instance"}

LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
# The parts of the definitions of these custom resources that the chart has to do with.
CUSTOM_RESOURCES = {
    "ServiceMonitor": {
        "type": "object", "additionalProperties": False, "required": ["apiVersion", "kind", "metadata", "spec"], "properties": {
            "apiVersion": {"const": "monitoring.coreos.com/v1"}, "kind": {"const": "ServiceMonitor"}, "metadata": {"type": "object"},
            "spec": {"type": "object", "additionalProperties": False, "required": ["selector", "endpoints"], "properties": {
                "selector": {"type": "object", "additionalProperties": False, "properties": {"matchLabels": LABELS}},
                "podTargetLabels": {"type": "array", "items": {"type": "string"}},
                "endpoints": {"type": "array", "minItems": 1, "items": {
                    "type": "object", "additionalProperties": False, "required": ["port"], "properties": {
                        "port": {"type": "string"}, "path": {"type": "string"}, "interval": {"type": "string", "pattern": "^[0-9]+(s|m)$"}}}}}}}},
    "PrometheusRule": {
        "type": "object", "additionalProperties": False, "required": ["apiVersion", "kind", "metadata", "spec"], "properties": {
            "apiVersion": {"const": "monitoring.coreos.com/v1"}, "kind": {"const": "PrometheusRule"}, "metadata": {"type": "object"},
            "spec": {"type": "object", "additionalProperties": False, "required": ["groups"], "properties": {
                "groups": {"type": "array", "minItems": 1, "items": {
                    "type": "object", "additionalProperties": False, "required": ["name", "rules"], "properties": {
                        "name": {"type": "string"}, "rules": {"type": "array", "minItems": 1, "items": {
                            "type": "object", "additionalProperties": False, "required": ["alert", "expr"], "properties": {
                                "alert": {"type": "string"}, "expr": {"type": "string"}, "for": {"type": "string", "pattern": "^[0-9]+(s|m|h)$"},
                                "labels": LABELS, "annotations": LABELS}}}}}}}}}},
}


def told():
    """The series that the binary tells, each with what it is told by: from the reference, which a test holds to the binary."""
    series = {}
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (\w+) \| `[^`]+` \| (.*?) \| ", (REPO_ROOT / "METRICS.md").read_text(), re.MULTILINE)
    for _, name, kind, attributes in rows:
        labels = {attribute.replace(".", "_") for attribute in re.findall(r"`([^`]+)`", attributes)}
        suffixes = {"_bucket": {"le"}, "_sum": set(), "_count": set()} if kind == "histogram" else {"": set()}
        series |= {name + suffix: labels | more for suffix, more in suffixes.items()}
    assert len(rows) > 15, "the reference is read"
    return series


def selectors(node):
    """Every selector of series of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, (str, int, float)):
            yield from selectors(child)
    for child in getattr(node, "args", None) or []:
        yield from selectors(child)


def series_faults(where, expression, known):
    """The series of an expression are told, and differ by what it tells them apart by."""
    try:
        found = list(selectors(promql_parser.parse(expression)))
    except ValueError as error:
        return [f"{where}: {error}"]
    faults = [] if found else [f"{where}: no series"]
    labels = set(OF_SCRAPING)
    for selector in found:
        if selector.name not in known:
            faults.append(f"{where}: nobody tells {selector.name}")
            continue
        labels |= known[selector.name]
        matched = {matcher.name for matcher in selector.matchers.matchers}
        faults += [f"{where}: {selector.name} has no {label}" for label in sorted(matched - known[selector.name] - OF_SCRAPING)]
        if not {"namespace"} <= matched:
            faults.append(f"{where}: {selector.name} of every release")
    grouped = {label.strip() for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in group.split(",")}
    return faults + [f"{where}: grouped by {label}" for label in sorted(grouped - labels)]


def rules_of(items):
    return [rule for item in of_kind(items, "PrometheusRule").values() for group in item["spec"]["groups"] for rule in group["rules"]]


def alert_faults(items, wanted):
    """These alerts are there, and each is of series that are told, and says what is the matter by labels that it has."""
    known = told() | OF_OTHERS
    rules = rules_of(items)
    faults = [f"alerts {sorted(rule['alert'] for rule in rules)}"] if {rule["alert"] for rule in rules} != wanted else []
    for rule in rules:
        faults += series_faults(rule["alert"], rule["expr"], known)
        named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["description"]))
        grouped = re.match(r"\s*\w+ by \(([^)]*)\)", rule["expr"]) or re.search(r"sum by \(([^)]*)\)", rule["expr"])
        kept = {label.strip() for label in grouped[1].split(",")} - {"le"} if grouped else OF_SCRAPING
        faults += [f"{rule['alert']}: speaks of {label}" for label in sorted(named - kept)]
    return faults


def dashboard_faults(items, release=RELEASE):
    """The dashboard is found by the sidecar, its panels are of series that are told, and do not lie on each other; every metric has its place."""
    known = told()
    item = of_kind(items, "ConfigMap")[f"{release}-dashboard"]
    dashboard = json.loads(item["data"]["quintile.json"])
    faults = [] if item["metadata"]["labels"].get("grafana_dashboard") == "1" else ["no label for the sidecar"]
    shown, taken = set(), set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        faults += [f"{panel['title']}: lies on another"] if cells & taken or at["x"] + at["w"] > 24 else []
        taken |= cells
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5m")
            faults += series_faults(panel["title"], expression, known)
            shown |= {selector.name for selector in selectors(promql_parser.parse(expression))}
    unseen = {re.sub("_(bucket|sum|count)$", "", name) for name in known} - {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    identities = [panel["id"] for panel in dashboard["panels"]]
    faults += ["panels with one id"] if len(identities) != len(set(identities)) else []
    return faults + [f"{name} is on no panel" for name in sorted(unseen)]


def scrape_faults(items, port, connects, scraper, others, pods):
    """The metrics of every serving pod are found by the ServiceMonitor's Service at their port, and reached by who scrapes them and nobody else."""
    service = of_kind(items, "Service")[f"{RELEASE}-metrics"]
    monitor = of_kind(items, "ServiceMonitor")[RELEASE]["spec"]
    faults = []
    if not monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items() or [
            name for name, each in of_kind(items, "Service").items()
            if monitor["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()] != [f"{RELEASE}-metrics"]:
        faults.append("the ServiceMonitor selects another Service")
    if [each["port"] for each in monitor["endpoints"]] != [each["name"] for each in service["spec"]["ports"]]:
        faults.append("the ServiceMonitor names another port")
    policies = of_kind(items, "NetworkPolicy").values()
    for component, item in workloads(items).items():
        if component == "migrate":
            continue
        [container] = item["spec"]["template"]["spec"]["containers"]
        if {each["name"]: each["containerPort"] for each in container["ports"]}.get(service["spec"]["ports"][0]["targetPort"]) != port:
            faults.append(f"{component}: no port of metrics")
        if not service["spec"]["selector"].items() <= item["spec"]["template"]["metadata"]["labels"].items():
            faults.append(f"{component}: not selected")
        faults += [f"{component}: {who} {'does not reach' if who == scraper else 'reaches'} metrics" for who in (scraper, *others, *pods.values())
                   if connects(policies, who, pods[component], port) != (who == scraper)]
    return faults


def monitored_kinds(items):
    return {item["kind"] for item in items if item["apiVersion"] == "monitoring.coreos.com/v1"}


def namespace_faults(items):
    """Alerts are of the release's namespace."""
    return [rule["alert"] for rule in rules_of(items) if f'namespace="{NAMESPACE}"' not in rule["expr"]]
