"""What the chart promises of how many pods there are, where they run, and how they are replaced and stopped."""

from loopback import of_kind, workloads

# Between the order to stop and the draining, and behind it: for leases, the audit log and databases to be let go of.
MARGIN_SECONDS = 15


def autoscalers(items):
    return {item["spec"]["scaleTargetRef"]["name"]: item for item in of_kind(items, "HorizontalPodAutoscaler").values()}


def replica_faults(items):
    """Either the Deployment says how many pods there are, or an autoscaler does, which has something to measure by."""
    faults = [f"{name}: scales nothing" for name in set(autoscalers(items)) - set(of_kind(items, "Deployment"))]
    for name, item in of_kind(items, "Deployment").items():
        scaler = autoscalers(items).get(name)
        if ("replicas" in item["spec"]) == bool(scaler):
            faults.append(f"{name}: replicas {item['spec'].get('replicas')}, beside {scaler and scaler['spec']}")
        if scaler:
            [container] = item["spec"]["template"]["spec"]["containers"]
            reference, spec = scaler["spec"]["scaleTargetRef"], scaler["spec"]
            if (reference["apiVersion"], reference["kind"]) != ("apps/v1", "Deployment") or spec["minReplicas"] > spec["maxReplicas"]:
                faults.append(f"{name}: {spec}")
            if [metric["resource"]["name"] for metric in spec["metrics"]] != ["cpu"] or "cpu" not in container["resources"]["requests"]:
                faults.append(f"{name}: nothing to measure by")
    return faults


def budget_faults(items):
    """Where there can be several pods of a role there is a budget, and it never keeps the last pod, nor one that is not ready, on a node."""
    budgets, faults = of_kind(items, "PodDisruptionBudget"), []
    for name, item in of_kind(items, "Deployment").items():
        scaler = autoscalers(items).get(name)
        fewest, most = (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) if scaler else (item["spec"]["replicas"],) * 2
        budget = budgets.pop(name, None)
        if bool(budget) != (most > 1):
            faults.append(f"{name}: up to {most} pods, and {'a' if budget else 'no'} budget")
        if budget:
            spec = budget["spec"]
            may_go = spec["maxUnavailable"] if "maxUnavailable" in spec else fewest - spec["minAvailable"]
            if may_go < 1 or spec["unhealthyPodEvictionPolicy"] != "AlwaysAllow":
                faults.append(f"{name}: of {fewest} pods {may_go} may go, {spec}")
            if spec["selector"]["matchLabels"] != item["spec"]["selector"]["matchLabels"]:
                faults.append(f"{name}: the budget is of other pods")
    return faults + [f"{name}: a budget of nothing" for name in budgets]


def rollout_faults(items):
    """A rollout takes no pod away before the next is ready, but for segmentation, whose next is not before the former has gone."""
    faults = []
    for component, item in workloads(items).items():
        if item["kind"] == "Deployment":
            wanted = {"maxUnavailable": 1, "maxSurge": 0} if component == "segmentation" else {"maxUnavailable": 0, "maxSurge": 1}
            if item["spec"]["strategy"] != {"type": "RollingUpdate", "rollingUpdate": wanted}:
                faults.append(f"{component}: {item['spec']['strategy']}")
            if component == "segmentation" and item["spec"].get("replicas", 2) > 1:
                faults.append("segmentation: a second pod would never be ready")
    return faults


def stopping_faults(items, config, version):
    """Whoever is told to stop has time to drain, and is not called any more by then."""
    faults = []
    for component, item in workloads(items).items():
        if component == "migrate":
            continue
        spec = item["spec"]["template"]["spec"]
        [container] = spec["containers"]
        pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if bool(pause) != (version != "1.27"):
            faults.append(f"{component}: sleeps {pause} s on Kubernetes {version}")
        needed = config["server"]["drain_seconds"] + pause + MARGIN_SECONDS
        if spec["terminationGracePeriodSeconds"] < needed:
            faults.append(f"{component}: {spec['terminationGracePeriodSeconds']} s of the {needed} that it needs")
    return faults


def spread_faults(items, wanted):
    """The pods of a role keep apart from each other and from nobody else."""
    faults = []
    for component, item in workloads(items).items():
        if item["kind"] != "Deployment":
            continue
        template = item["spec"]["template"]
        found = template["spec"].get("topologySpreadConstraints", [])
        if {each["topologyKey"]: each["whenUnsatisfiable"] for each in found} != wanted:
            faults.append(f"{component}: {found}")
        if any(each["labelSelector"]["matchLabels"] != item["spec"]["selector"]["matchLabels"] for each in found):
            faults.append(f"{component}: apart from others")
    return faults


def scheduling_of(items):
    """Where the pods of each component may run, and what is said about them."""
    keys = ("nodeSelector", "tolerations", "affinity", "priorityClassName")
    return {component: {key: item["spec"]["template"]["spec"].get(key) for key in keys} | {
        "podAnnotations": {key: value for key, value in item["spec"]["template"]["metadata"].get("annotations", {}).items()
                           if key != "checksum/config"}} for component, item in workloads(items).items()}
