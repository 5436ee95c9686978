"""How refunds count in revenue is a tenant's to choose, once: the same facts under each of the three policies."""
import pytest

from support import facts, policies, questions, waiting
from support.refusals import INVALID_ARGUMENT

# Bought 40 days ago, and most of it given back 10 days ago.
BOUGHT, GIVEN_BACK = 30_000, 25_000
# Of each policy: revenue, that of the last 30 days and of the 30 before, that of the last 90, and the monetary score by the cut-offs of
# 50, 100, 200 and 500.
EXPECTED = {
    "GROSS": (30_000, 0, 30_000, 30_000, 4),
    "NET": (5_000, -25_000, 30_000, 5_000, 2),
    "NETTED": (5_000, 0, 5_000, 5_000, 2),
}


@pytest.mark.parametrize("policy", [*EXPECTED, None])
def the_same_facts_come_to_different_revenue(shared, policy):
    admin, tenant = shared.client("admin"), f"revenue-{policy}".lower()
    asked = {"revenue_policy": f"REVENUE_POLICY_{policy}"} if policy else {}
    made = admin.call("TenantService/CreateTenant", {"tenant_id": tenant, "tenant": asked})
    # What a tenant does not say is net of refunds.
    policy = policy or "NET"
    names = made.DESCRIPTOR.fields_by_name["revenue_policy"].enum_type.values_by_number
    assert names[made.revenue_policy].name == f"REVENUE_POLICY_{policy}"
    waiting.until(lambda: policies.is_known(shared.client("admin", tenant)), f"{tenant} to be known", policies.FORCE_SECONDS)
    client = shared.client("admin", tenant)
    answer = questions.take_in(client, facts.order("c", "o", days=40, cents=BOUGHT),
                               facts.refund("c", "r", days=10, cents=GIVEN_BACK, order_event_id="o"))
    questions.wait_for(client, answer.facts_position, None)
    name = questions.find(client, "c")
    got = questions.features(client, name)
    month, quarter, _ = got.windows
    amounts = [facts.cents_of(each) for each in (got.revenue, month.revenue, month.previous_revenue, quarter.revenue)]
    assert (*amounts, questions.scores(client, name)[2]) == EXPECTED[policy]
    assert facts.cents_of(got.average_order_value) == EXPECTED[policy][0]
    # What was bought and what was given back is the same for everybody.
    assert [facts.cents_of(each) for each in (got.gross_revenue, got.refunded, got.net_revenue)] == [30_000, 25_000, 5_000]
    rule = f"revenue == {EXPECTED[policy][0] // 100} && revenue_30 == {EXPECTED[policy][1] // 100}"
    assert client.call("SegmentService/PreviewSegment", {"expression": rule}).customers == 1


def a_policy_that_is_none_is_refused(shared):
    request = {"tenant_id": "revenue-none", "tenant": {"revenue_policy": 7}}
    refusal = shared.client("admin").refused("TenantService/CreateTenant", request)
    refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert refusal.bad_request.field_violations[0].field == "tenant.revenue_policy"
