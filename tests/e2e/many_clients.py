"""Several clients, over several streams, in several tenants, at once: nothing acknowledged is lost, nothing counts twice, and customers that
several clients speak of are one."""
import random
import threading

import pytest

from support import facts, policies, questions, waiting
from support.ingest_stream import connection

TENANTS = ("default", "second")
CLIENTS, BATCHES, ROWS, CUSTOMERS = 4, 12, 60, 150


@pytest.fixture(scope="module")
def clients(shared):
    admin = shared.client("admin")
    admin.call("TenantService/CreateTenant", {"tenant_id": "second"})
    for tenant in TENANTS:
        waiting.until(lambda tenant=tenant: policies.is_known(shared.client("service", tenant)), f"{tenant} to be known",
                      policies.FORCE_SECONDS)
    return {tenant: shared.client("service", tenant) for tenant in TENANTS}


def load(tenant, number):
    """The batches of one client: orders, some of which another client sends as well, and customers known by two identities."""
    chance = random.Random(f"{tenant} {number}")
    batches = []
    for batch in range(BATCHES):
        rows = []
        for row in range(ROWS):
            customer = f"c{chance.randrange(CUSTOMERS)}"
            # A third of the facts are of a source that all clients send, with the same ids and bodies.
            common = chance.random() < 0.33
            event = f"common-{chance.randrange(200)}" if common else f"{number}-{batch}-{row}"
            cents = 100 if common else chance.randrange(1, 1_000)
            who = f"c{int(event.split('-')[1]) % CUSTOMERS}" if common else customer
            rows.append(facts.order(who, event, days=7 if common else chance.randrange(1, 400), cents=cents))
            if chance.random() < 0.1:
                rows.append({"customer": {"identities": [facts.identity(customer), facts.identity(customer, "crm")],
                                          "attributes": {"kind": "CUSTOMER_KIND_CUSTOMER"}}})
        batches.append(rows)
    return batches


def send_all(client, stream_id, batches, chance, failures):
    """Sends batches over connections that break now and then, each batch perhaps twice, until all are acknowledged."""
    try:
        acked = 0
        while acked < len(batches):
            with connection(client, stream_id) as stream:
                for offset in range(max(0, acked - chance.randrange(2)), len(batches)):
                    answer = stream.send(offset, batches[offset])
                    assert list(answer.rejects) == [], answer
                    acked = max(acked, answer.acked_offset)
                    if chance.random() < 0.2:
                        break
    except Exception as problem:  # noqa: BLE001 - told by the test, not by a thread that nobody hears.
        failures.append((stream_id, problem))


def every_clients_facts_are_there_once_whoever_else_sends(clients):
    loads = {(tenant, number): load(tenant, number) for tenant in TENANTS for number in range(CLIENTS)}
    failures = []
    threads = [threading.Thread(target=send_all, args=(clients[tenant], f"client-{number}", batches,
                                                       random.Random(number), failures))
               for (tenant, number), batches in loads.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert failures == [] and not any(thread.is_alive() for thread in threads)
    for tenant in TENANTS:
        bought = {}
        for number in range(CLIENTS):
            for row in (row for batch in loads[tenant, number] for row in batch if "order" in row):
                order = row["order"]
                cents = order["amount"]["units"] * 100 + order["amount"]["nanos"] // 10_000_000
                bought.setdefault(order["customer"]["id"], {})[order["event_id"]] = cents
        for customer, orders in bought.items():
            name = questions.find(clients[tenant], customer)
            got = questions.features(clients[tenant], name)
            assert (got.orders, facts.cents_of(got.net_revenue)) == (len(orders), sum(orders.values())), (tenant, customer)
        named = {row["customer"]["identities"][0]["id"] for number in range(CLIENTS) for batch in loads[tenant, number]
                 for row in batch if "customer" in row}
        for customer in named:
            assert questions.find(clients[tenant], customer) == questions.find(clients[tenant], customer, "crm")
        conflicts = questions.everything(clients[tenant], "IdentityService/ListIdentityConflicts", "conflicts")
        assert conflicts == [] and questions.everything(clients[tenant], "IngestService/ListRejects", "rejects") == []


def a_tenant_hears_nothing_of_another(clients):
    """The streams of the same name went on by themselves, and so did customers of the same ids."""
    for tenant in TENANTS:
        state = clients[tenant].call("IngestService/GetIngestStream", {"name": "ingestStreams/client-0"})
        assert state.acked_offset == BATCHES
    listed = [len(questions.everything(client, "CustomerService/ListCustomers", "customers", page_size=1_000))
              for client in clients.values()]
    for client in clients.values():
        position = client.call("IngestService/GetIngestStream", {"name": "ingestStreams/client-0"}).facts_position
        questions.wait_for(client, position)
    whole = [sum(each.customers for each in client.call("StageService/GetFunnel").stages) for client in clients.values()]
    assert whole == listed
