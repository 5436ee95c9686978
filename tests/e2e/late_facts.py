"""Facts that come late, in another order and in other batches: who belongs to what is what it is where they came as they happened, and the log of
enters and exits adds up to it."""
import random
from datetime import timedelta
from types import SimpleNamespace

import pytest

from support import facts, policies, questions, quintile, segments, waiting
from support.segments import refers_to

DAYS, STEP = 40, 4
BEGIN = facts.AS_OF - timedelta(days=DAYS)
RULES = {"often": "orders >= 3", "recent": "days_since(last_order_at) < 10", "refunded": "net_revenue < 20 && has(last_order_at)",
         "lately": "orders_30 >= 2 || rfm.r >= 4", "gone": f"{refers_to('often')} && !{refers_to('recent')}"}
LABELS = {"lost": refers_to("gone"), "good": f"{refers_to('often')} && !{refers_to('refunded')}", "new": refers_to("recent")}


def history(chance):
    """[(instant, row)] of what customers did, oldest first."""
    happened = []
    for place in range(30):
        key = f"c{place}"
        for n in range(chance.randrange(6)):
            at = BEGIN + timedelta(minutes=chance.randrange(1, DAYS * 1_440))
            happened.append((at, facts.order(key, f"o{n}", order_time=facts.text_of(at), cents=chance.randrange(300, 3_000))))
            if chance.random() < 0.3:
                later = at + (facts.AS_OF - at) * chance.random() * 0.9
                fields = {"refund_time": facts.text_of(later), "order_event_id": f"o{n}", "cents": chance.randrange(100, 3_000)}
                happened.append((later, facts.refund(key, f"r{n}", **fields)))
    return sorted(happened, key=lambda each: each[0])


def members(client):
    """{segment or label: those who belong to it, as the shop knows them}"""
    keys = {name: key for key, name in questions.names_of(client, facts.SOURCE).items()}
    of_rfm = [label.name for label in client.call("LabelService/GetLabelSet", {"name": "labelSets/rfm-11"}).labels]
    parents = [*(f"segments/{name}" for name in RULES), *(f"labelSets/l/labels/{label}" for label in (*LABELS, "others")), *of_rfm]
    return {parent: {keys[name] for name in segments.members(client, parent)} for parent in parents}


def logged(client, cursor):
    """The same by what a watch was told of enters and exits."""
    keys = {name: key for key, name in questions.names_of(client, facts.SOURCE).items()}
    told = segments.replayed(segments.since(client, cursor))
    return {parent: {keys[name] for name in of} for parent, of in told.items() if of}


@pytest.fixture(scope="module")
def shops(backend):
    """Two companies to which the same happened: one told of it day by day, the other late and in no order."""
    with quintile.suite(backend, as_of=facts.text_of(BEGIN)) as suite:
        clients, cursors, positions = {}, {}, {}
        for tenant in ("live", "late"):
            suite.client("admin").call("TenantService/CreateTenant", {"tenant_id": tenant, "tenant": {"time_zone": "America/New_York"}})
            clients[tenant] = suite.client("admin", tenant)
            waiting.until(lambda tenant=tenant: policies.is_known(clients[tenant]), "the tenant to be known", policies.FORCE_SECONDS)
            for name, rule in RULES.items():
                segments.create(clients[tenant], name, rule)
            segments.label_set(clients[tenant], "l", LABELS)
            cursors[tenant], positions[tenant] = segments.now(clients[tenant]), 0
        happened, chance = history(random.Random(11)), random.Random(12)
        shuffled = [row for _, row in chance.sample(happened, len(happened))]
        now = BEGIN
        while now < facts.AS_OF:
            before, now = now, now + timedelta(days=STEP)
            suite.client("admin").call("ClockService/SetAsOf", {"as_of": facts.text_of(now)})
            rows = [row for at, row in happened if before <= at < now]
            if rows:
                positions["live"] = questions.take_in(clients["live"], *rows).facts_position
            questions.wait_for(clients["live"], positions["live"], now)
        for start in range(0, len(shuffled), 17):
            positions["late"] = questions.take_in(clients["late"], *shuffled[start:start + 17]).facts_position
            questions.wait_for(clients["late"], positions["late"] if start % 2 else 0)
        for tenant, client in clients.items():
            questions.wait_for(client, positions[tenant])
        yield SimpleNamespace(clients=clients, cursors=cursors)


def who_belongs_does_not_depend_on_when_and_in_which_order_facts_came(shops):
    live, late = (members(shops.clients[tenant]) for tenant in ("live", "late"))
    assert live == late
    assert all(live[f"segments/{name}"] for name in RULES) and sum(bool(of) for of in live.values()) >= 10


def enters_and_exits_add_up_to_who_belongs_however_facts_came(shops):
    for tenant, client in shops.clients.items():
        held = {parent: of for parent, of in members(client).items() if of}
        assert held and logged(client, shops.cursors[tenant]) == held, tenant
