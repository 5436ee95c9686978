"""Values that the chart is tried with."""

EMBEDDED = {"mode": "embedded"}
TOLERATION = {"key": "dedicated", "operator": "Equal", "value": "services", "effect": "NoSchedule"}
# Everything that network policies can be told, at ports and addresses that are no default.
NETWORK = {
    "webhooks": [{"name": "a", "url": "https://hooks.example/quintile", "existingSecret": "hooks", "key": "signing"},
                 {"name": "b", "url": "https://[2001:db8::7]:8443/x:1", "existingSecret": "hooks", "key": "signing"},
                 {"name": "c", "url": "https://crm.example:8443", "existingSecret": "hooks", "key": "signing"}],
    "mail": [{"name": "d", "server": "smtps://mail.example", "from": "care@shop.example"},
             {"name": "e", "server": "smtp://mail.example", "from": "care@shop.example"},
             {"name": "f", "server": "smtp://[2001:db8::7]:2525", "from": "care@shop.example"}],
    "roles": {"lifecycle": {"clients": []}, "access-control": {"clients": [{"namespaceSelector": {}}]}},
    "networkPolicy": {
        "clients": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}, "podSelector": {"matchExpressions": [
            {"key": "app", "operator": "In", "values": ["shop-front"]}]}}],
        "dns": {"port": 53, "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                                    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}]},
        "database": {"port": 6432, "to": [{"ipBlock": {"cidr": "198.51.100.0/24", "except": ["198.51.100.128/25"]}}]},
        "webhooks": {"to": [{"ipBlock": {"cidr": "192.0.2.0/28"}}]},
        "mail": {"to": [{"ipBlock": {"cidr": "192.0.2.16/28"}}]},
        "issuers": {"enabled": True, "port": 443, "to": [{"ipBlock": {"cidr": "192.0.2.32/28"}}]}},
}

# Overrides that must render to valid objects.
GOOD_VALUES = {
    "default values": {},
    "another image": {"image": {"repository": "registry.example/team/quintile", "tag": "9.9.9", "pullPolicy": "Always",
                                "pullSecrets": ["registry-credentials"]}},
    "another port and more replicas": {"roles": {"scoring": {"replicas": 3, "port": 8802}}},
    "no resources": {"roles": {"lifecycle": {"resources": {"requests": None, "limits": None}}}},
    "own secrets": {"secrets": {"database": {"existingSecret": "pg-app", "key": "uri"},
                                "bootstrap": {"existingSecret": "first-token", "key": "value"},
                                "masterKey": {"existingSecret": "kek", "key": "v1"}}},
    "no migration": {"migrate": {"enabled": False}},
    "less history": {"history": {"membershipDays": 30, "sizeDays": 365}},
    "months as long as days": {"history": {"labelDays": 400, "monthlyLabelDays": 400}},
    "webhooks": {"webhooks": [{"name": "messages", "url": "https://hooks.example/quintile", "existingSecret": "hooks", "key": "signing"},
                              {"name": "messages", "url": "https://crm.example", "existingSecret": "crm", "key": "v1", "tenant": "acme",
                               "retryAfterSeconds": 30}]},
    "senders of e-mails": {"mail": [{"name": "care", "server": "smtp://mail.example:2525", "from": "care@shop.example"},
                                    {"name": "care", "server": "smtps://mail.acme.example", "from": '"Acme, Ihr Händler" <care@acme.example>',
                                     "user": "acme\\care", "existingSecret": "smtp", "key": "password", "tenant": "acme", "retryAfterSeconds": 30,
                                     "unsubscribe": "mailto:stop@acme.example?subject=stop"}]},
    "as a dependency of another chart": {"global": {"region": "eu"}},
    "an authority of the database": {"secrets": {"databaseAuthority": {"existingSecret": "pg-ca", "key": "root.crt"}}},
    "TLS": {"tls": {"enabled": True}},
    "mutual TLS with a certificate per role": {
        "tls": {"enabled": True, "existingSecret": "suite", "certificateKey": "chain", "privateKeyKey": "key", "authorityKey": "ca",
                "requireClientCertificate": True},
        "roles": {"scoring": {"tlsSecret": "scoring-tls"}}},
    "a long drain": {"drainSeconds": 90},
    "logs for machines": {"log": {"filter": "info,quintile_rpc=debug", "json": True}},
    "no metrics": {"metrics": {"enabled": False}},
    "metrics at another port, and no dashboard": {"metrics": {"port": 9464, "dashboard": {"enabled": False}, "scrapers": []}},
    "traces": {"traces": {"endpoint": "http://collector.monitoring:4317", "ratio": 1}},
    "traces to a collector of one's own authority": {
        "traces": {"endpoint": "https://[2001:db8::9]:4318", "ratio": 0, "authority": {"existingSecret": "collector", "key": "root.crt"}},
        "networkPolicy": {"traces": {"to": [{"ipBlock": {"cidr": "192.0.2.48/28"}}]}}},
    "more pods of each role that may have them": {
        "roles": {"ingestion": {"replicas": 3}, "scoring": {"replicas": 2}, "lifecycle": {"replicas": 2}, "access-control": {"replicas": 2}}},
    "autoscaling": {"roles": {
        "ingestion": {"autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 6, "targetCPUUtilizationPercentage": 60}},
        "scoring": {"autoscaling": {"enabled": True, "minReplicas": 1, "maxReplicas": 1}}}},
    "two pods may go at once": {"roles": {"ingestion": {"replicas": 4}}, "podDisruptionBudget": {"maxUnavailable": 2}},
    "no budgets": {"roles": {"ingestion": {"replicas": 3}}, "podDisruptionBudget": {"enabled": False}},
    "a role that is stopped": {"roles": {"segmentation": {"replicas": 0}}},
    "insisting on zones": {"topologySpread": {"zone": "DoNotSchedule", "host": ""}},
    "spread nowhere": {"topologySpread": {"zone": "", "host": ""}},
    "nodes for all, and others for one": {
        "nodeSelector": {"pool": "services"}, "tolerations": [TOLERATION], "priorityClassName": "high",
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}]}]}}},
        "podAnnotations": {"team": "crm", "checksum/config": "mine"},
        "roles": {"segmentation": {"nodeSelector": {"pool": "memory"}, "tolerations": [], "priorityClassName": "higher",
                                   "affinity": {"podAntiAffinity": {}}, "podAnnotations": {"tier": "memory"}}}},
    "no network policies": {"networkPolicy": {"enabled": False}},
    "a network with everything in it": NETWORK,
    "routes by a gateway": {"gateway": {"enabled": True, "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "grpc"}],
                                        "hostnames": {"ingestion": "ingest.shop.example", "access-control": "access.shop.example"}}},
    "ingresses": {"ingress": {"enabled": True, "tlsSecret": "shop-certificate", "hostnames": {"segmentation": "segments.shop.example"},
                              "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "3600"}}},
    "ingresses to TLS": {"tls": {"enabled": True}, "ingress": {"enabled": True, "className": "", "hostnames": {"scoring": "scores.shop.example"}}},
    "embedded": EMBEDDED,
    "embedded with existing secrets": {**EMBEDDED, "embedded": {"existingSecrets": True}},
    "embedded on a claim that is there": {**EMBEDDED, "embedded": {"volume": {"existingClaim": "shop-data"}}},
    "embedded on a volume of one's own": {
        **EMBEDDED, "embedded": {"volume": {"size": "200Gi", "storageClass": "fast", "accessMode": "ReadWriteOncePod"}}},
    "embedded with TLS": {**EMBEDDED, "tls": {"enabled": True}},
    "embedded with what production has": {
        **EMBEDDED, "roles": {"ingestion": {"replicas": 3, "port": 8801, "clients": []}, "scoring": {"autoscaling": {"enabled": True}}}},
    "embedded with everything outside": {**EMBEDDED, **NETWORK},
    "embedded by a gateway": {**EMBEDDED, "gateway": {"enabled": True, "parentRefs": [{"name": "public", "port": 443}],
                                                     "hostnames": {"ingestion": "ingest.shop.example"}}},
}


def sender(**changed):
    return {"name": "care", "server": "smtps://mail.example", "from": "care@shop.example", **changed}


# Overrides that contradict each other, which no schema sees, and what the message must say.
CONFLICTING_VALUES = {
    "months shorter than days": ({"history": {"labelDays": 400, "monthlyLabelDays": 399}},
                                 "history.monthlyLabelDays must be at least history.labelDays"),
    "a second pod of segmentation": ({"roles": {"segmentation": {"replicas": 2}}}, "roles.segmentation.replicas must be 0 or 1"),
    "an autoscaler that may only do less than the least": (
        {"roles": {"scoring": {"autoscaling": {"enabled": True, "minReplicas": 5}}}}, "roles.scoring.autoscaling.maxReplicas must be at least"),
    "an autoscaler with nothing to measure by": (
        {"roles": {"scoring": {"autoscaling": {"enabled": True}, "resources": {"requests": None}}}},
        "roles.scoring.resources.requests.cpu must be set"),
    "metrics at a role's port": ({"metrics": {"port": 7703}}, "metrics.port must be none of roles"),
    "two roles at one port of one pod": ({**EMBEDDED, "roles": {"scoring": {"port": 7701}}}, "must differ from each other in the mode embedded"),
}


def network(**changed):
    return {"networkPolicy": changed}


def gateway(**changed):
    return {"gateway": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": {"ingestion": "ingest.shop.example"}, **changed}}


# Overrides that the values schema must refuse, and the path that its message must name.
BAD_VALUES = {
    "an unknown key": ({"replicaCount": 3}, "replicaCount"),
    "an unknown role": ({"roles": {"billing": {"replicas": 1, "port": 7706, "resources": {}}}}, "billing"),
    "an unknown key of a role": ({"roles": {"scoring": {"replica": 2}}}, "/roles/scoring"),
    "replicas as text": ({"roles": {"scoring": {"replicas": "two"}}}, "/roles/scoring/replicas"),
    "negative replicas": ({"roles": {"scoring": {"replicas": -1}}}, "/roles/scoring/replicas"),
    "a privileged port": ({"roles": {"ingestion": {"port": 443}}}, "/roles/ingestion/port"),
    "a role taken away": ({"roles": {"scoring": None}}, "scoring"),
    "a memory limit that is no quantity": ({"roles": {"scoring": {"resources": {"limits": {"memory": "much"}}}}}, "/limits/memory"),
    "a secret's value": ({"secrets": {"database": {"value": "postgres://u:p@h/d"}}}, "/secrets/database"),
    "an empty secret name": ({"secrets": {"masterKey": {"existingSecret": ""}}}, "/secrets/masterKey/existingSecret"),
    "a webhook that is not secured": (
        {"webhooks": [{"name": "a", "url": "http://hooks.example", "existingSecret": "h", "key": "k"}]}, "/webhooks/0/url"),
    "a webhook with its secret in it": ({"webhooks": [{"name": "a", "url": "https://hooks.example", "secret": "c2VjcmV0"}]}, "/webhooks/0"),
    "a sender by no SMTP": ({"mail": [sender(server="https://mail.example")]}, "/mail/0/server"),
    "a sender that is not secured": ({"mail": [sender(server="smtp://localhost:25")]}, "/mail/0/server"),
    "a sender with a login in its server": ({"mail": [sender(server="smtps://care:pw@mail.example")]}, "/mail/0/server"),
    "a sender from nobody": ({"mail": [sender(**{"from": "Shop"})]}, "/mail/0/from"),
    "a sender with a second header": ({"mail": [sender(**{"from": "a@shop.example\r\nBcc: b@shop.example"})]}, "/mail/0/from"),
    "a sender with its password in it": ({"mail": [sender(password="pw")]}, "/mail/0"),
    "a user without a password": ({"mail": [sender(user="care")]}, "/mail/0"),
    "a password without a user": ({"mail": [sender(existingSecret="smtp", key="password")]}, "/mail/0"),
    "a sender with http to unsubscribe": ({"mail": [sender(unsubscribe="http://shop.example")]}, "/mail/0/unsubscribe"),
    "history of no day": ({"history": {"labelDays": 0}}, "/history/labelDays"),
    "an unknown pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    "a number as tag": ({"image": {"tag": 1.5}}, "/image/tag"),
    "an unknown mode": ({"mode": "demo"}, "/mode"),
    "no mode": ({"mode": None}, "mode"),
    "an autoscaler of segmentation": ({"roles": {"segmentation": {"autoscaling": {"enabled": True}}}}, "/roles/segmentation"),
    "an autoscaler down to nothing": ({"roles": {"scoring": {"autoscaling": {"minReplicas": 0}}}}, "/roles/scoring/autoscaling/minReplicas"),
    "an unknown key of an autoscaler": ({"roles": {"scoring": {"autoscaling": {"targetMemory": 70}}}}, "/roles/scoring/autoscaling"),
    "a budget that stops drains": ({"podDisruptionBudget": {"maxUnavailable": 0}}, "/podDisruptionBudget/maxUnavailable"),
    "a budget by what must be there": ({"podDisruptionBudget": {"minAvailable": 1}}, "/podDisruptionBudget"),
    "an unknown way to spread": ({"topologySpread": {"zone": "Never"}}, "/topologySpread/zone"),
    "a volume of no size": ({"embedded": {"volume": {"size": "large"}}}, "/embedded/volume/size"),
    "a volume for many": ({"embedded": {"volume": {"accessMode": "ReadWriteMany"}}}, "/embedded/volume/accessMode"),
    "more pods of the embedded mode": ({"embedded": {"replicas": 2}}, "/embedded"),
    "a certificate in the values": ({"tls": {"certificate": "..."}}, "/tls"),
    "TLS as text": ({"tls": {"enabled": "true"}}, "/tls/enabled"),
    "no Secret for TLS": ({"tls": {"existingSecret": ""}}, "/tls/existingSecret"),
    "a port of metrics that is privileged": ({"metrics": {"port": 80}}, "/metrics/port"),
    "a monitor that is there perhaps": ({"metrics": {"serviceMonitor": {"enabled": True}}}, "/metrics/serviceMonitor/enabled"),
    "a limit that is no share": ({"metrics": {"rules": {"limits": {"errorRatio": 5}}}}, "/metrics/rules/limits/errorRatio"),
    "a limit that there is not": ({"metrics": {"rules": {"limits": {"cpu": 5}}}}, "/metrics/rules/limits"),
    "an interval that is none": ({"metrics": {"serviceMonitor": {"interval": "often"}}}, "/metrics/serviceMonitor/interval"),
    "a collector without a port": ({"traces": {"endpoint": "http://collector.monitoring"}}, "/traces/endpoint"),
    "more traces than calls": ({"traces": {"ratio": 2}}, "/traces/ratio"),
    "a drain of no end": ({"drainSeconds": 86400}, "/drainSeconds"),
    "a log of nothing": ({"log": {"filter": ""}}, "/log/filter"),
    "an annotation that is a number": ({"podAnnotations": {"version": 1}}, "/podAnnotations/version"),
    "an unknown effect of a toleration": ({"tolerations": [{"effect": "Never"}]}, "/tolerations/0/effect"),
    "an unknown affinity": ({"affinity": {"zoneAffinity": {}}}, "/affinity"),
    "a client that is nobody": (network(clients=[{}]), "/networkPolicy/clients/0"),
    "a client of no kind": (network(clients=[{"pod": "front"}]), "/networkPolicy/clients/0"),
    "a client that is an address and a pod": (network(clients=[{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]), "/networkPolicy/clients/0"),
    "an address without its length": (network(database={"to": [{"ipBlock": {"cidr": "10.0.0.7"}}]}), "/networkPolicy/database/to/0/ipBlock/cidr"),
    "a port of the database that is none": (network(database={"port": 0}), "/networkPolicy/database/port"),
    "names from anywhere": (network(dns={"to": []}), "/networkPolicy/dns/to"),
    "a route to nowhere": (gateway(parentRefs=[]), "/gateway/parentRefs"),
    "a route for nobody": (gateway(hostnames={"ingestion": None}), "/gateway/hostnames"),
    "a route to no role": (gateway(hostnames={"billing": "billing.shop.example"}), "/gateway/hostnames"),
    "a host with a port": (gateway(hostnames={"ingestion": "shop.example:443"}), "/gateway/hostnames/ingestion"),
    "an ingress for nobody": ({"ingress": {"enabled": True}}, "/ingress/hostnames"),
    "an unknown key of ingresses": ({"ingress": {"tls": []}}, "/ingress"),
    "migrate.enabled as text": ({"migrate": {"enabled": "no"}}, "/migrate/enabled"),
}
