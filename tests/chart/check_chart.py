#!/usr/bin/env python3
"""Checks the Helm chart and the image without a cluster: lint, render, Kubernetes schemas, and what the chart promises.

    python3 tests/chart/check_chart.py --venv DIRECTORY   # makes DIRECTORY and installs the wheels into it when needed
    python3 tests/chart/check_chart.py                    # in an environment that has them
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from image import image_faults, ignore_faults
from overrides import BAD_VALUES, CONFLICTING_VALUES, EMBEDDED, GOOD_VALUES

try:
    import helm_sdkpy
    import kubernetes_validate  # noqa: F401 - that it is there
    import promql_parser  # noqa: F401 - that it is there
    import yaml
except ImportError:  # --venv installs them and starts this script again
    helm_sdkpy = None
else:
    from asked import asked, grpc
    from loopback import KUBERNETES_VERSIONS, RELEASE, Chart, Refused, config_of, hooks, objects, of_kind, workloads
    from monitoring import alert_faults, dashboard_faults, monitored_kinds, namespace_faults, scrape_faults
    from network import (NEIGHBOUR, OTHER_RELEASE, STRANGER, call_faults, client_faults, connects, cover_faults, needs_outside, outside_faults, pod,
                         pods_of, reach_faults, side_faults)
    from promises import (PORTS, checksum_faults, configuration_faults, file_faults, hardening_faults, hook_faults, name_faults, note_faults,
                          probe_faults, schema_faults, secret_faults, secret_reference_faults, service_faults, setting_faults,
                          shared_configuration_faults)
    from scaling import budget_faults, replica_faults, rollout_faults, spread_faults, stopping_faults

WHEELS = ["helm-sdkpy==0.1.32", "kubernetes-validate==1.37.0", "promql-parser==0.11.0"]
REPO_ROOT = Path(__file__).resolve().parents[2]
SOFTLY = {"topology.kubernetes.io/zone": "ScheduleAnyway", "kubernetes.io/hostname": "ScheduleAnyway"}


# ---- checks of the chart as a whole; like all others, each returns what is wrong, so that an empty answer passes


def lint_findings(chart):
    # Severity 1 is information (no icon). The binding drops the words of a finding: rendering gives them.
    result = chart.lint()
    findings = [f"{finding['Path']}: severity {finding['Severity']}" for finding in result["Messages"] or [] if finding["Severity"] > 1]
    return findings + [str(error) for error in result["Errors"] or []]


def undocumented_values(chart_path):
    """Keys of values.yaml with no comment in the line above; resources' own keys are Kubernetes' to explain."""
    lines = (chart_path / "values.yaml").read_text().splitlines()
    return [line.strip() for before, line in zip(["", *lines], lines)
            if re.match(r"\s*[A-Za-z-]+:", line) and not before.lstrip().startswith("#")
            and not re.match(r"\s*(requests|limits):", line)]


def loose_schemas(chart_path):
    """Objects of the values' schema that take any key, and lists that take anything, where Kubernetes does not say the rest."""
    schema = json.loads((chart_path / "values.schema.json").read_text())
    left_open = {"/global", "/affinity/nodeAffinity", "/affinity/podAffinity", "/affinity/podAntiAffinity"}

    def walk(node, path):
        if node.get("type") == "object" and "additionalProperties" not in node and path not in left_open:
            yield f"{path} takes any key"
        if node.get("type") == "array" and "items" not in node:
            yield f"{path} takes anything"
        for name, child in node.get("properties", {}).items():
            yield from walk(child, f"{path}/{name}")
        for key in ("additionalProperties", "items"):
            if isinstance(node.get(key), dict):
                yield from walk(node[key], f"{path}/{key}")
    faults = list(walk(schema, ""))
    return faults + [fault for name, node in schema["definitions"].items() for fault in walk(node, f"/{name}")]


def workload_faults(items, replicas=None):
    """In production a Deployment of each role and the migration; or else one pod with all of them."""
    found = {component: (item["kind"], item["metadata"]["name"], item["spec"]["template"]["spec"]["containers"][0]["args"])
             for component, item in workloads(items).items()}
    end = ["--config", "/etc/quintile/quintile.toml"]
    wanted = {role: ("Deployment", f"{RELEASE}-{role}", ["serve", "--role", role, *end]) for role in PORTS}
    wanted["migrate"] = ("Job", f"{RELEASE}-migrate", ["migrate", *end])
    if replicas:
        wanted = {"embedded": ("StatefulSet", RELEASE, ["serve", *end])}
        if of_kind(items, "StatefulSet")[RELEASE]["spec"]["replicas"] != replicas:
            return ["several pods on one volume"]
    return [f"{component}: {found.get(component)}" for component in found.keys() | wanted.keys() if found.get(component) != wanted.get(component)]


def override_faults(name, items, default_secrets):
    """What the overrides of GOOD_VALUES ask for is in the objects."""
    kept = asked(items, default_secrets).get(name, lambda: True)
    return [] if kept() else ["the override does not show"]


def refusal_faults(chart, values, words, by_schema=True):
    try:
        chart.render(values)
    except Refused as refusal:
        message = str(refusal)
        as_expected = ("meet the specifications of the schema" in message) == by_schema
        return [] if as_expected and words in message else [f"refused, but with: {message}"]
    return ["rendered"]


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


def check_good_values(tally, chart, default_secrets):
    """Of all values that are good: what is promised whatever they are."""
    for name, values in GOOD_VALUES.items():
        def valid(values=values):
            return [fault for version in KUBERNETES_VERSIONS for rendered in [objects(chart.render(values, version=version))]
                    for fault in schema_faults(rendered, version) + name_faults(rendered)
                    + stopping_faults(rendered, config_of(rendered), version)]

        def promised(values=values):
            rendered = objects(chart.render(values))
            checks = (setting_faults, shared_configuration_faults, checksum_faults, file_faults, replica_faults, rollout_faults)
            return [fault for check in checks for fault in check(rendered)]

        def covered(values=values):
            rendered = objects(chart.render(values))
            return cover_faults(rendered) if values.get("networkPolicy", {}).get("enabled", True) else []
        tally.check(f"{name}: valid objects", valid)
        tally.check(f"{name}: no secret is inline", lambda: secret_faults(objects(chart.render(values))))
        tally.check(f"{name}: pods have the settings and files that they read, and know how many they are", promised)
        tally.check(f"{name}: pods are denied what is not allowed", covered)
        tally.check(f"{name}: as asked", lambda: override_faults(name, objects(chart.render(values)), default_secrets))


def check_production(tally, chart, default_secrets):
    def default():
        return objects(chart.render({}))

    tally.check("5 Deployments, and a Job that migrates", lambda: workload_faults(default()))
    tally.check("5 Services that select their role's pods", lambda: service_faults(default(), PORTS))
    tally.check("gRPC probes", lambda: probe_faults(default(), PORTS, grpc))
    tally.check("pods are hardened and bounded", lambda: hardening_faults(default()))
    tally.check("secrets come from the Secrets named in the values", lambda: secret_reference_faults(default(), default_secrets))
    tally.check("quintile.toml agrees with the Services", lambda: configuration_faults(default(), PORTS))
    tally.check("the migration is a hook, with its configuration and its network", lambda: hook_faults(chart.render({})))
    without = {"networkPolicy": {"enabled": False}}
    tally.check("the migration needs no network policy", lambda: hook_faults(chart.render(without), has_policy=False))
    tally.check("budgets are where there are several pods", lambda: [
        fault for values in ({}, *(GOOD_VALUES[name] for name in ("another port and more replicas", "autoscaling", "two pods may go at once")))
        for fault in budget_faults(objects(chart.render(values)))])
    tally.check("pods of a role keep apart", lambda: spread_faults(default(), SOFTLY))
    tally.check("the notes give the first commands", lambda: note_faults(chart.render({}), f"deployment/{RELEASE}-ingestion"))

    longest = "r" * 53
    tally.check("the longest release name makes legal names", lambda: name_faults(objects(chart.render({}, longest))))
    tally.check("the longest release name keeps peers reachable",
                lambda: configuration_faults(objects(chart.render({}, longest)), PORTS, "r" * 48))


def check_embedded(tally, chart):
    def embedded():
        return objects(chart.render(EMBEDDED))

    tally.check("embedded: one pod with all roles", lambda: workload_faults(embedded(), replicas=1))
    tally.check("embedded: the Services of production, of that pod", lambda: service_faults(embedded(), PORTS) + [
        f"no Service {name}" for name in of_kind(objects(chart.render({})), "Service").keys() ^ of_kind(embedded(), "Service").keys()])
    tally.check("embedded: ready when the last of them is", lambda: probe_faults(embedded(), {"embedded": PORTS["segmentation"]}, grpc))
    tally.check("embedded: the pod is hardened and bounded", lambda: hardening_faults(embedded()))
    tally.check("embedded: nobody is a peer", lambda: ["peers"] if "peers" in config_of(embedded()) else [])
    tally.check("embedded: no hook, budget or autoscaler", lambda: [
        kind for kind in ("Job", "PodDisruptionBudget", "HorizontalPodAutoscaler") if of_kind(embedded(), kind)]
        + [hook["path"] for hook in chart.render(EMBEDDED).get("hooks") or []])
    tally.check("embedded: clients alone call", lambda: client_faults(embedded(), PORTS))
    tally.check("embedded: it calls nobody", lambda: reach_faults(embedded(), {}))
    tally.check("embedded: the notes give the first commands", lambda: note_faults(
        chart.render(EMBEDDED), f"{RELEASE}-0", f"data-{RELEASE}-0", "/var/lib/quintile/data/master.key"))
    longest = "r" * 53
    tally.check("embedded: the longest release name makes legal names", lambda: name_faults(objects(chart.render(EMBEDDED, longest)))
                + service_faults(objects(chart.render(EMBEDDED, longest)), PORTS, "r" * 48))


def check_network(tally, chart):
    """The graph of production, with what lifecycle may be configured to send by, against what the sources need."""
    sends = {key: GOOD_VALUES["a network with everything in it"][key] for key in ("webhooks", "mail")} | {
        "networkPolicy": {"issuers": {"enabled": True}}}
    database = {role: {5432} for role in (*PORTS, "migrate")}

    def rendered(values):
        return objects(chart.render(values))

    def on_install():
        """While the hooks of a first install run, the release's own policies are not there."""
        items = hooks(chart.render({}))
        return outside_faults(of_kind(items, "NetworkPolicy").values(), pods_of(items), {"migrate": {5432}})

    tally.check("network: roles reach those that they call, by the sources", lambda: call_faults(rendered({}), PORTS))
    tally.check("network: both sides of a call let it happen, and no other", lambda: side_faults(rendered({"networkPolicy": {"clients": []}})))
    tally.check("network: clients of the namespace reach the roles", lambda: client_faults(rendered({}), PORTS))
    tally.check("network: pods reach the database, and nothing else outside", lambda: reach_faults(rendered({}), database))
    tally.check("network: webhooks, mail and issuers are reached by whom they are for", lambda: reach_faults(
        rendered(sends), database | {"lifecycle": {5432, 443, 8443, 465, 587, 2525}, "access-control": {5432, 443}}))
    for scheme, port in (("smtps", 465), ("smtp", 587)):
        sender = {"name": "a", "server": f"{scheme}://mail.example", "from": "care@shop.example"}
        tally.check(f"network: mail by {scheme} is sent to its usual port", lambda: reach_faults(
            rendered({"mail": [sender]}), database | {"lifecycle": {5432, port}}))
    tally.check("network: embedded, by the one pod", lambda: reach_faults(
        rendered({**EMBEDDED, **sends}), {"embedded": {443, 8443, 465, 587, 2525}}))
    tally.check("network: the migration reaches the database at a first install", on_install)
    tally.check("network: those who connect outside, by the sources, are those whom it lets", lambda: [
        f"{role} does" for role in needs_outside() ^ {"lifecycle", "access-control"}])


ALERTS = {f"Quintile{name}" for name in (
    "PodAway", "FeedLag", "WatermarkOld", "Errors", "Slow", "CallsShed", "IntakeFull", "RowsRejected", "LeaseHeldByNone", "WorkerFails",
    "DeadLetters", "Memory")}


def check_monitoring(tally, chart):
    def rendered(monitoring=True, **metrics):
        return objects(chart.render({"metrics": metrics}, monitoring=monitoring))

    def when_faults():
        always, never = {"enabled": "always"}, {"enabled": "never"}
        both = {"ServiceMonitor", "PrometheusRule"}
        cases = [(rendered(), both), (rendered(monitoring=False), set()), (rendered(serviceMonitor=never), {"PrometheusRule"}),
                 (rendered(rules=never), {"ServiceMonitor"}), (rendered(enabled=False, serviceMonitor=always, rules=always), set()),
                 (rendered(serviceMonitor=always, rules=always), both)]
        return [f"case {number}: {monitored_kinds(items)}" for number, (items, wanted) in enumerate(cases) if monitored_kinds(items) != wanted]

    def of_scraping(values):
        items = objects(chart.render(values, monitoring=True))
        return scrape_faults(items, 7710, connects, pod({"app": "prometheus"}, "monitoring"), (NEIGHBOUR, STRANGER, OTHER_RELEASE), pods_of(items))

    def of_one(**metrics):
        return [item for item in rendered(**metrics) if item["metadata"]["labels"].get("team") == "crm"]
    embedded = objects(chart.render(EMBEDDED, monitoring=True))
    tally.check("monitoring: objects of the operator are where it is, or as asked", when_faults)
    tally.check("monitoring: valid objects", lambda: [
        fault for items in (rendered(), embedded) for fault in schema_faults(items, KUBERNETES_VERSIONS[-1]) + name_faults(items)])
    tally.check("monitoring: alerts are of metrics that are told", lambda: alert_faults(rendered(), ALERTS) + namespace_faults(rendered()))
    tally.check("monitoring: embedded, of the disk too", lambda: alert_faults(embedded, ALERTS | {"QuintileDiskFull"}))
    tally.check("monitoring: the dashboard is of metrics that are told, and of all", lambda: dashboard_faults(rendered()))
    tally.check("monitoring: pods are scraped, by who scrapes alone", lambda: of_scraping({}) + of_scraping(EMBEDDED))
    tally.check("monitoring: objects have the labels that are asked for", lambda: [] if {item["kind"] for item in of_one(
        serviceMonitor={"labels": {"team": "crm"}}, rules={"labels": {"team": "crm"}}, dashboard={"labels": {"team": "crm"}})} == {
            "ServiceMonitor", "PrometheusRule", "ConfigMap"} else ["no labels"])


def run_checks(chart_path, kubeconfig):
    tally, chart = Tally(), Chart(chart_path, kubeconfig)
    default_secrets = yaml.safe_load((chart_path / "values.yaml").read_text())["secrets"]

    tally.check("the chart lints without findings", lambda: lint_findings(chart))
    tally.check("each value has a comment", lambda: undocumented_values(chart_path))
    tally.check("the values schema leaves nothing open", lambda: loose_schemas(chart_path))
    tally.check("the image runs as the chart has it run", lambda: image_faults(chart_path))
    tally.check("the image is built from what it needs", ignore_faults)

    check_good_values(tally, chart, default_secrets)
    check_production(tally, chart, default_secrets)
    check_embedded(tally, chart)
    check_network(tally, chart)
    check_monitoring(tally, chart)

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
    has_wheels = subprocess.run([python, "-c", "import helm_sdkpy, kubernetes_validate, promql_parser"], capture_output=True).returncode == 0
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
        print(f"needs {', '.join(WHEELS)}: give --venv a directory to install them into", file=sys.stderr)
        return 2
    # Helm and its Kubernetes client keep caches and settings under HOME: let them be new, and gone afterwards.
    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = home
        return run_checks(arguments.chart.resolve(), Path(home) / "kubeconfig.json")


if __name__ == "__main__":
    sys.exit(main())
