"""Values that the chart is tried with."""

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
}


def sender(**changed):
    return {"name": "care", "server": "smtps://mail.example", "from": "care@shop.example", **changed}


# Overrides that contradict each other, which no schema sees, and what the message must say.
CONFLICTING_VALUES = {
    "months shorter than days": ({"history": {"labelDays": 400, "monthlyLabelDays": 399}},
                                 "history.monthlyLabelDays must be at least history.labelDays"),
}

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
    "a webhook that is not secured": ({"webhooks": [{"name": "a", "url": "http://hooks.example", "existingSecret": "h", "key": "k"}]}, "/webhooks/0/url"),
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
    "migrate.enabled as text": ({"migrate": {"enabled": "no"}}, "/migrate/enabled"),
}
