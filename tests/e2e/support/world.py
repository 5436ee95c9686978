"""A tenant in which every RPC has something to answer, with a canary customer in the middle of it."""
from dataclasses import dataclass
from datetime import date, timedelta

from support import canaries, churn_cases, facts, playbook_cases, questions, recommendations, rewards, score_models, traits, value_models, waiting
from support.ingest_stream import connection

SEGMENT_ID = "planted"
STREAM_ID = "planted-stream"
LEAD = "planted-lead"
# When it is once everything is planted: a day later, as what comes of playbooks is measured then.
NOW = facts.AS_OF + timedelta(days=1)


@dataclass(frozen=True)
class World:
    """The populated tenant: its suite, and the names that cases ask for."""

    suite: object
    customer: str
    lead: str
    segment: str
    segment_etag: str
    label: str
    position: int
    reject: str

    def client(self, role):
        return self.suite.client(role)


def plant_other_facts(admin):
    """One fact of every other kind, two of each that waits, and what is about nobody in particular."""
    day, euros = (facts.AS_OF - timedelta(days=9)).date(), {"currency_code": "EUR", "units": 5}
    rows = [facts.interaction(canaries.SOURCE_ID, "visit", about="teapot", text=canaries.SAID),
            facts.feedback(canaries.SOURCE_ID, "word", about="teapot", text=canaries.SAID),
            facts.refund(canaries.SOURCE_ID, "given", days=5, cents=500, order_event_id="event-1"),
            *(facts.refund(canaries.SOURCE_ID, f"early-{n}", order_event_id="not there") for n in range(2)),
            *(facts.order(canaries.SOURCE_ID, f"euros-{n}", amount=euros) for n in range(2)),
            *(facts.rate("GBP", day + timedelta(days=n), "1.6512") for n in range(2)),
            *(facts.spend(f"spend-{n}", day, day) for n in range(2))]
    answer = admin.call("IngestService/IngestBatch", facts.batch(*rows))
    assert (answer.applied, list(answer.rejects)) == (len(rows), []), answer
    return answer


def plant_traits(admin):
    """A trait of every type of value, each of which reads money."""
    of_money = "amount >= 0"
    for trait_id, definition in {"integer": ("ORDER", "COUNT", "", of_money), "number": ("ORDER", "MEAN", "quantity", of_money),
                                 "money": ("ORDER", "SUM", "amount"), "text": ("ORDER_LINE", "LAST", "product", of_money),
                                 "time": ("ORDER", "MAX", "at", of_money)}.items():
        operation = traits.define(admin, f"planted-{trait_id}", *definition)
    traits.done(admin, operation)


def plant_models(admin):
    """A model that scores a number and a text, and versions by which scores have changed; one that is found; and a draft of the one that ships."""
    orders = score_models.dimension("orders", "orders", cut_offs=[2, 500])
    product = score_models.mapped("product", "traits/planted-text", {"teapot": 5}, bins=5)
    score_models.put_in_force(admin, "planted", orders, product)
    score_models.put_in_force(admin, "planted", orders)
    score_models.put_in_force(admin, "planted", orders, product)
    score_models.put_in_force(admin, "planted-found", score_models.dimension("orders", "orders", "QUANTILE", ties="VALUE"))
    score_models.create_preset(admin, "rfm", "luxury")


def plant_value_models(admin):
    """Two models of lifetime value, the second in force: of repeat buyers who differ in how often and how much they buy."""
    rows = [facts.order(f"repeats-{n}", f"r-{m}", days=300 - m * (11 + 7 * n % 60), cents=500 + 400 * n + 150 * m)
            for n in range(12) for m in range(1 + n % 5)]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    plant_leads(admin)
    value_models.fit(admin, holdout_days=0)
    value_models.publish(admin, value_models.fit(admin, holdout_days=0))


def plant_leads(admin):
    """Leads of two channels, most of whom have become customers; one that has not is the canary's owner's, and consents to marketing."""
    came = {"acquisition_date": facts.date_of(date(1998, 1, 5)), "acquisition_channel": "ads", "acquisition_campaign": "spring"}
    rows = [facts.customer(f"lead-{n}", attributes=came) for n in range(7)]
    rows += [facts.order(f"lead-{n}", "first", days=90 - n, cents=2_000 + n) for n in range(6)]
    questions.take_in(admin, *rows)
    lead = {"identities": [facts.identity(LEAD)], "attributes": came | {"owner": canaries.OWNER}}
    name = admin.call("CustomerService/CreateCustomer", {"customer": lead}).name
    admin.call("PrivacyService/SetConsent", {"name": name, "purpose": "PURPOSE_MARKETING", "state": "CONSENT_STATE_GIVEN",
                                             "source": canaries.CONSENT_SOURCE})
    questions.wait_for(admin, questions.take_in(admin, facts.customer("last-lead", attributes=came)).facts_position)


def plant_recommendations(admin):
    """Two models of what is bought together, the second in force: by six customers besides the canary a kettle too."""
    lines = [{"product": product, "category": "kitchen", "quantity": 1} for product in ("teapot", "kettle")]
    rows = [facts.order(f"brews-{n}", "both", days=20 + n, lines=lines) for n in range(6)]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    recommendations.fit(admin, holdout_days=0)
    recommendations.publish(admin, recommendations.fit(admin, holdout_days=0))


def plant_warnings(admin, name):
    """Two of the canary, for complaints: the first was resolved, and is settled."""
    for minutes, state in enumerate(("OPENED", "RESOLVED", "OPENED")):
        complaint = facts.interaction(
            canaries.SOURCE_ID, f"complaint-{minutes}", kind="INTERACTION_KIND_COMPLAINT", about="parcel",
            case_state=f"CASE_STATE_{state}", interaction_time=facts.text_of(facts.AS_OF - timedelta(minutes=30 - minutes)))
        questions.wait_for(admin, questions.take_in(admin, complaint).facts_position)
        if minutes == 0:
            warning = admin.call("WarningService/ListWarnings", {"parent": name}).warnings[0]
            admin.call("WarningService/ResolveWarning", {"name": warning.name, "resolution": "WARNING_RESOLUTION_RETAINED"})


def drop_what_is_old(admin):
    """Of the canary too there are facts that are kept no longer, and an opening balance in their place."""
    line = {"product": "teapot", "category": "kitchen", "quantity": 1, "amount": facts.dollars(700), "cost": facts.dollars(300)}
    questions.take_in(admin, facts.order(canaries.SOURCE_ID, "long-ago", days=1_000, cents=700, lines=[line]),
                      facts.refund(canaries.SOURCE_ID, "long-ago", days=990, cents=200))
    admin.call("RetentionService/UpdateRetention", {"retention": {"order_days": 900}})
    waiting.until(lambda: admin.call("RetentionService/GetRetention").complete, "old facts to be dropped")


def plant_playbooks(suite, admin, name):
    """One of which the canary has a run with tasks and dead letters, and another that is measured; and a day passes."""
    playbook_cases.until_planted(admin, name)
    playbook_cases.plant_buyers(admin)
    questions.set_clock(admin, NOW)
    suite.as_of = facts.text_of(NOW)
    playbook_cases.until_measured(admin, name)


def populate(suite):
    """Plants the canary customer with orders, a live segment, an ingest stream, a reject and another customer.

    The suite has the endpoint of webhooks that refuses everything: `receiver.refusing()`."""
    admin = suite.client("admin")
    admin.call("AttributeService/CreateAttribute",
               {"attribute_id": canaries.NOTE_KEY, "attribute": {"sensitivity": "SENSITIVITY_FREE_TEXT"}})
    note = {"custom_attributes": [{"key": canaries.NOTE_KEY, "text": canaries.NOTE}]}
    name = admin.call("CustomerService/CreateCustomer", {"customer": canaries.CUSTOMER | note}).name
    # With the first, those who may see only who consents to marketing see the canary too; with the other, it may be part of an audience.
    for purpose in ("MARKETING", "THIRD_PARTY"):
        admin.call("PrivacyService/SetConsent", {"name": name, "purpose": f"PURPOSE_{purpose}", "state": "CONSENT_STATE_GIVEN",
                                                 "source": canaries.CONSENT_SOURCE})
    line = {"product": "teapot", "quantity": 1, "amount": facts.dollars(9_000), "cost": facts.dollars(4_000)}
    orders = [facts.order(canaries.SOURCE_ID, f"event-{n}", days=n * 10, cents=9_000, lines=[line]) for n in range(1, 4)]
    with connection(admin, STREAM_ID) as stream:
        # The last row is refused and kept: its customer's contact details are canaries as well.
        refused = facts.customer("reject-1", display_name=canaries.NAME, phone="+86 000 " + canaries.NATIONAL_PHONE,
                                 email=f"{canaries.EMAIL_LOCAL}(at){canaries.EMAIL_DOMAIN}")
        # It has the canary's birthday, too.
        bystander = facts.customer("bystander", display_name=canaries.NAME, birth_date=canaries.BIRTH_DATE)
        answer = stream.send(0, [*orders, bystander, refused])
    assert (answer.applied, len(answer.rejects)) == (4, 1), answer
    answer = plant_other_facts(admin)
    drop_what_is_old(admin)
    playbook_cases.begin_planted(admin)
    plant_warnings(admin, name)
    plant_playbooks(suite, admin, name)
    churn_cases.plant_customers(admin)
    # Models that are fitted later are these again: nobody else buys, and no time passes.
    plant_traits(admin)
    plant_models(admin)
    plant_recommendations(admin)
    plant_value_models(admin)
    churn_cases.plant_models(admin)
    rewards.plant(admin, name)
    playbook_cases.enrol_planted(admin, name)
    playbook_cases.run_again(admin)
    admin.call("StagePolicyService/CreateStagePolicyVersion", {"parent": "stagePolicies/default", "version": {"description": "planted"}})
    segment = admin.call("SegmentService/CreateSegment",
                         {"segment_id": SEGMENT_ID, "segment": {"expression": facts.TARGET}})
    questions.wait_for(admin, answer.facts_position)
    label = questions.labels(admin)[questions.label(admin, name)]
    assert questions.is_member(admin, segment.name, name)
    reject = admin.call("IngestService/ListRejects", {"page_size": 1}).rejects[0].name
    return World(suite, name, questions.find(admin, LEAD), segment.name, segment.etag, label, answer.facts_position, reject)
