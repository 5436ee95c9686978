"""Previews: breakdowns by every field and overlaps with segments and labels are what records and lists of members come to."""
import random
from collections import Counter
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace

import pytest

from support import facts, policies, questions, score_models, segments, waiting
from support.segments import refers_to

CUSTOMERS = 450
INT, TEXT, INSTANT, MONEY = 1, 2, 4, 5  # As FieldType numbers them.
MOST_TEXTS, MOST_SINGLES, ABOUT = 50, 20, 10
TEXTS = ("owner", "region", "department", "language", "acquisition_channel", "acquisition_campaign", "country", "currency", "gender",
         "income_band", "household")
# By the numbers of the contract.
WARNINGS = {"silence": 1, "purchases": 2, "interactions": 3, "complaint": 4, "churn_risk": 5, "low_score": 6}
CONSENTS = {"marketing": 1, "profiling": 2, "analytics": 3, "support": 4, "third_party": 5}  # As Purpose numbers them.
STAGES = ["", "lead", "new", "active", "loyal", "at_risk", "dormant", "churned", "reactivated"]  # As Stage numbers them.
SELECTIONS = {"true": lambda record: True, "orders >= 3 && !has(region)": lambda record: (
    record.features.orders >= 3 and not record.attributes.region), 'orders <= 2 || owner == "keeper 1"': lambda record: (
    record.features.orders <= 2 or record.attributes.owner == "keeper 1")}


def person(chance, place):
    """Rows of a customer of whom anything may be known or not."""
    key, said = f"c{place}", {"kind": f"CUSTOMER_KIND_{chance.choice(['CUSTOMER', 'CUSTOMER', 'CONTACT', 'LEAD'])}"}
    values = {"owner": f"keeper {place % 70}", "region": chance.choice("NSWE"), "department": f"d{min(chance.randrange(400), place % 90)}",
              "language": chance.choice(["de", "zh", "en-GB"]), "acquisition_channel": chance.choice(["ads", "fair", "段"]),
              "acquisition_campaign": f"'{place % 55}%_", "country": chance.choice(["DE", "CN", "FR"]), "household": f"{place % 7} heads",
              "currency": chance.choice(["EUR", "USD"]), "gender": chance.choice(["f", "m"]), "income_band": f"{place % 4}0-50k",
              "acquisition_date": {"year": 1990 + place % 8, "month": 1 + place % 12, "day": 1 + place % 28}}
    said |= {field: value for field, value in values.items() if chance.random() < 0.7}
    yield facts.customer(key, attributes=said)
    for n in range(min(chance.randrange(9), chance.randrange(40), chance.randrange(60))):
        line = {"product": "p", "category": f"category {chance.randrange(80)}", "quantity": 1}
        cents = chance.choice([1_000, chance.randrange(1, 90_000)])
        yield facts.order(key, f"{key}-{n}", days=chance.randrange(1, 700), cents=cents, channel=chance.choice(["store", "online", ""]),
                          lines=[line | {"amount": facts.dollars(cents)}])
        if cents > 100 and chance.random() < 0.2:
            yield facts.refund(key, f"{key}-r{n}", days=1, cents=cents // 2, order_event_id=f"{key}-{n}")
    for n in range(chance.randrange(4)):
        kind = chance.choice([{}, {"kind": "INTERACTION_KIND_COMPLAINT", "about": f"a{n}", "case_state": "CASE_STATE_OPENED"},
                              {"kind": "INTERACTION_KIND_SUPPORT_TICKET", "about": f"b{n}", "case_state": "CASE_STATE_OPENED"}])
        yield facts.interaction(key, f"{key}-i{n}", days=chance.randrange(1, 300), channel="call", **kind)
    if chance.random() < 0.3:
        yield facts.feedback(key, f"{key}-f", days=9, kind="FEEDBACK_KIND_NPS", score=chance.randrange(11))


@pytest.fixture(scope="module")
def town(shared):
    """Customers of whom much is known, all of whom are graded, by their records. No test changes them."""
    admin, chance = shared.client("admin"), random.Random(11)
    names = segments.take_in(admin, *(row for place in range(CUSTOMERS) for row in person(chance, place)))
    for place, name in enumerate(segments.by_number(names.values())[:60]):
        for purpose in list(CONSENTS)[:1 + place % 5]:
            state = "GIVEN" if (place + len(purpose)) % 3 else "OBJECTED"
            admin.call("PrivacyService/SetConsent", {
                "name": name, "purpose": f"PURPOSE_{purpose.upper()}", "state": f"CONSENT_STATE_{state}"})
    graded = score_models.create_preset(admin, "grade", "value-grade")
    score_models.publish(admin, graded.name, score_models.preview(admin, graded.name).version.etag)
    questions.wait_for(admin, questions.take_in(admin, facts.customer("the last")).facts_position)
    records = {f"customers/{record.customer_id}": record for record in questions.everything(
        admin, "StageService/ListRecords", "records", page_size=1_000)}
    assert len(records) == CUSTOMERS + 1
    with_grade = sum(score_models.grade_of(record.scores) is not None for record in records.values())
    waiting.until(lambda: with_grade and questions.preview(admin, "has(grade.value)").customers == with_grade, "grades to come")
    labels = {name: parent.split("/")[-1] for parent in questions.labels(admin).values() for name in segments.members(admin, parent)}
    return SimpleNamespace(suite=shared, admin=admin, records=records, labels=labels)


@pytest.fixture
def named(new):
    """Ids that no other test uses, by a word."""
    return lambda word: f"{word}-{new[:12]}"


# -- what records say -----------------------------------------------------------------------------------------------------

def revenue(town, names):
    """Cents of customers, net of refunds."""
    return sum(cents(town.records[name].features, "net_revenue") for name in names)


def cents(message, field):
    return facts.cents_of(getattr(message, field)) if message.HasField(field) else 0


def instant(message, field):
    return getattr(message, field).ToDatetime(timezone.utc) if message.HasField(field) else None


def of_window(field, features):
    """The value of a field such as `previous_orders_90`."""
    what, days = field.rsplit("_", 1)
    window = next(each for each in features.windows if each.days == int(days))
    return Decimal(cents(window, what)) / 100 if "revenue" in what else getattr(window, what)


def value_of(town, field, name):
    """What a record says of a field, as rules mean it. None: nothing."""
    record = town.records[name]
    attributes, features, scores = record.attributes, record.features, record.scores
    part, _, of = field.partition(".")
    if field in TEXTS:
        return getattr(attributes, field) or None
    if field[-1].isdigit():
        return of_window(field, features)
    if part == "consent":
        word = {CONSENTS[of] in attributes.consents: "given", CONSENTS[of] in attributes.objections: "objected"}
        return word.get(True)
    if part == "warning":
        return "yes" if WARNINGS[of] in record.stage.warnings else "no"
    if field == "alive_percent":
        return scores.alive_percent if scores.HasField(field) else None
    if field == "lifetime_value":
        return Decimal(cents(scores, field)) / 100 if scores.HasField(field) else None
    if field == "churn_risk_percent":
        return record.churn.risk_percent if record.HasField("churn") else None
    if part == "grade":
        grade = score_models.grade_of(scores)
        return grade and dict(zip(("value", "band", "tier", "vip"), (*grade[:3], "yes" if grade[3] else "no")))[of]
    if field == "average_order_value" and not features.HasField(field):
        return None
    if field in ("net_revenue", "revenue", "average_order_value"):
        return Decimal(cents(features, field)) / 100
    if field == "acquired_at":
        date = attributes.acquisition_date
        return datetime(date.year, date.month, date.day, tzinfo=timezone.utc) if attributes.HasField("acquisition_date") else None
    if field.endswith(("_at", "_time")):
        return instant(features, field.replace("_at", "_time"))
    plain = {"label": town.labels[name], "stage": STAGES[record.stage.stage], "kind": ["", "customer", "contact", "lead"][attributes.kind],
             "channel": features.primary_channel, "top_category": features.top_category, "rfm.r": scores.recency,
             "rfm.f": scores.frequency, "rfm.m": scores.monetary}
    if field in plain:
        return plain[field] or None
    if field == "last_nps":
        return features.last_nps if features.HasField(field) else None
    return getattr(features, field)  # Of a field without a witness there is none.


PARSED = {INT: int, MONEY: Decimal, INSTANT: datetime.fromisoformat}


def assert_broken_down(town, breakdown, kind, selected):
    """Everybody is in the one group of its value, with its revenue; which groups there are is as the contract says."""
    values, groups = {name: value_of(town, breakdown.field, name) for name in selected}, list(breakdown.groups)
    without = [name for name, value in values.items() if value is None]
    if without:
        last = groups.pop()
        assert (last.value, last.highest, last.customers) == ("", "", len(without))
        assert facts.cents_of(last.net_revenue) == revenue(town, without)
    if kind == TEXT:
        counted, top = Counter(value for value in values.values() if value is not None), [each.customers for each in groups]
        assert top == sorted(counted.values(), reverse=True)[:MOST_TEXTS]
        assert breakdown.other_customers == counted.total() - sum(top)
        ranges = [(each.value, each.value) for each in groups]
        assert not any(each.highest for each in groups)
    else:
        counted, parse = Counter(value for value in values.values() if value is not None), PARSED[kind]
        ranges = [(parse(each.value), parse(each.highest or each.value)) for each in groups]
        assert breakdown.other_customers == 0
        if len(counted) <= MOST_SINGLES:
            assert ranges == [(value, value) for value in sorted(counted)] and not any(each.highest for each in groups)
        else:
            assert_ranges(counted, ranges)
            assert [bool(each.highest) for each in groups] == [low != high for low, high in ranges]
    for group, (low, high) in zip(groups, ranges, strict=True):
        theirs = [name for name, value in values.items() if value is not None and low <= value <= high]
        assert (group.customers, facts.cents_of(group.net_revenue)) == (len(theirs), revenue(town, theirs)), (breakdown.field, low, high)


def assert_ranges(counted, ranges):
    """About ten, ascending, from a value that somebody has to another, and of about as many: more only of one value that many have."""
    assert [low for low, _ in ranges] == sorted(low for low, _ in ranges) and all(low <= high for low, high in ranges)
    assert all(before[1] < after[0] for before, after in zip(ranges, ranges[1:])) and {each for pair in ranges for each in pair} <= counted.keys()
    assert ABOUT / 2 <= len(ranges) <= ABOUT * 1.5 or max(counted.values()) > counted.total() / 4
    for low, high in ranges:
        assert sum(count for value, count in counted.items() if low <= value < high) <= 1 + counted.total() / ABOUT
    assert sum(count for value, count in counted.items() for low, high in ranges if low <= value <= high) == counted.total()


def preview(client, expression, fields=(), parents=(), sample_size=0):
    return client.call("SegmentService/PreviewSegment", {
        "expression": expression, "breakdown_fields": list(fields), "overlap_parents": list(parents), "sample_size": sample_size})


def kinds_of(client):
    return {field.name: field.value_type for field in client.call("ExpressionService/ListFields").fields}


# -- breakdowns -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("expression", SELECTIONS)
def every_field_breaks_customers_down_as_their_records_do(town, expression):
    selected = [name for name, record in town.records.items() if SELECTIONS[expression](record)]
    assert len(selected) > 20
    kinds = kinds_of(town.admin)
    fields = sorted(kinds, key=lambda field: field[::-1])
    for start in range(0, len(fields), 5):
        asked = fields[start:start + 5]
        seen = preview(town.suite.client("analyst"), expression, asked)
        assert [each.field for each in seen.breakdowns] == asked
        assert (seen.customers, facts.cents_of(seen.net_revenue)) == (len(selected), revenue(town, selected))
        for breakdown in seen.breakdowns:
            assert_broken_down(town, breakdown, kinds[breakdown.field], selected)


def rare_texts_are_told_together_and_many_numbers_as_ranges(town):
    """That the customers of this file have enough values of every kind for it."""
    told = {each.field: each for each in preview(town.admin, "true", ["owner", "department", "net_revenue", "last_order_at"]).breakdowns}
    assert min(told[text].other_customers for text in ("owner", "department")) > 0
    assert [len(told[text].groups) for text in ("owner", "department")] == [MOST_TEXTS + 1] * 2, "and those without"
    for ranged in ("net_revenue", "last_order_at"):
        assert sum(bool(group.highest) for group in told[ranged].groups) >= ABOUT / 2
    singles = preview(town.admin, "true", ["rfm.r", "orders_30", "last_nps", "stage", "grade.band"]).breakdowns
    assert not any(group.highest for each in singles for group in each.groups) and all(len(each.groups) > 1 for each in singles)


def nobody_is_broken_down_into_no_groups(town):
    seen = preview(town.admin, "false", ["orders", "owner", "net_revenue", "orders"], ["labelSets/rfm-11/labels/lost"])
    assert [(each.field, len(each.groups), each.other_customers) for each in seen.breakdowns] == [
        ("orders", 0, 0), ("owner", 0, 0), ("net_revenue", 0, 0), ("orders", 0, 0)]
    assert (seen.customers, seen.overlaps[0].shared, seen.overlaps[0].jaccard) == (0, 0, 0)
    without = preview(town.admin, "true")
    assert not without.breakdowns and not without.overlaps and without.customers == without.population == len(town.records)


# -- overlaps -------------------------------------------------------------------------------------------------------------

def an_overlap_is_that_of_the_lists_of_members(town, named):
    admin = town.admin
    for word, rule in {"often": "orders >= 3", "north": 'region == "N"', "nobody": "false", "all": "true"}.items():
        segments.create(admin, named(word), rule)
    segments.create(admin, named("both"), f"{refers_to(named('often'))} && !{refers_to(named('north'))}")
    segments.create(admin, named("draft"), "true", draft_only=True)
    listed = segments.static(admin, named("listed"))
    segments.add(admin, listed.name, segments.by_number(town.records)[::3])
    segments.label_set(admin, named("set"), {"in": refers_to(named("both"))})
    parents = [*(f"segments/{named(word)}" for word in ("often", "listed", "both", "nobody", "draft", "all", "north", "often")),
               *(f"labelSets/{named('set')}/labels/{label}" for label in ("others", "in")), *questions.labels(admin).values()]
    asked = {"orders <= 4": 5, "false": 0, "true": 3, f"{refers_to(named('listed'))} || {refers_to(named('set') + '/in')}": 100}
    for expression, sample_size in asked.items():
        chosen = segments.create(admin, named(f"chosen-{sample_size}"), expression)
        selected = set(segments.members(admin, chosen.name))
        seen = preview(admin, expression, parents=parents, sample_size=sample_size)
        assert (seen.customers, list(seen.sample)) == (len(selected), segments.by_number(selected)[:sample_size])
        assert [each.parent for each in seen.overlaps] == parents
        for each in seen.overlaps:
            of = set(segments.members(admin, each.parent))
            assert (each.members, each.shared) == (len(of), len(of & selected)), each.parent
            assert each.jaccard == pytest.approx(len(of & selected) / len(of | selected) if of | selected else 0, abs=1e-12)
    assert {each.shared for each in seen.overlaps} > {0} and any(0 < each.jaccard < 1 for each in seen.overlaps)


def fifty_overlaps_and_five_fields_can_be_asked_for_at_once(town):
    parents = [parent for _ in range(5) for parent in questions.labels(town.admin).values()][:50]
    fields = ["orders", "owner", "net_revenue", "last_order_at", "rfm.m"]
    cursor = segments.now(town.admin)
    seen = preview(town.admin, "orders >= 1", fields, parents, 100)
    assert (len(seen.overlaps), len(seen.breakdowns), len(seen.sample)) == (50, 5, 100)
    again = preview(town.admin, "orders >= 1", fields, parents, 100)
    for each in (seen, again):
        each.ClearField("evaluation_time")
    assert questions.without_watermark(seen) == questions.without_watermark(again)
    assert segments.since(town.admin, cursor) == [], "nothing was changed by it"


# -- whom and what a caller sees ------------------------------------------------------------------------------------------

def a_role_sees_groups_and_overlaps_of_its_own_customers_alone(town, named):
    admin, scope = town.admin, 'region == "N" || region == "S"'
    policies.publish(admin, policies.role_like(admin, "admin", "local", without=policies.TAKING_IN, row_scope=scope))
    client, kinds = policies.client_of(town.suite, "local"), kinds_of(admin)
    mine = {name for name, record in town.records.items() if record.attributes.region in ("N", "S")}
    segments.create(admin, named("often"), "orders >= 3")
    segments.create(admin, named("elsewhere"), 'region == "W"')
    label = questions.labels(admin)["Lost"]
    parents = [f"segments/{named('often')}", f"segments/{named('elsewhere')}", label]
    fields = ["owner", "region", "net_revenue", "orders", "label"]
    seen = preview(client, "orders <= 5", fields, parents, 100)
    selected = {name for name in mine if town.records[name].features.orders <= 5}
    assert (seen.customers, seen.population, facts.cents_of(seen.net_revenue)) == (len(selected), len(mine), revenue(town, selected))
    assert list(seen.sample) == segments.by_number(selected)[:100]
    for breakdown in seen.breakdowns:
        assert_broken_down(town, breakdown, kinds[breakdown.field], selected)
    for each in seen.overlaps:
        of = set(segments.members(admin, each.parent)) & mine
        assert (each.members, each.shared) == (len(of), len(of & selected))
        assert each.jaccard == pytest.approx(len(of & selected) / len(of | selected), abs=1e-12)
    assert seen.overlaps[1].members == 0 == seen.overlaps[1].jaccard


def who_reads_no_money_sees_groups_without_it(town):
    admin = town.admin
    forms = {"FINANCIAL": {"form": "MASK_FORM_BUCKET", "bucket": 100_00}}
    policies.publish(admin, policies.role_like(admin, "analyst", "rough-money", forms=forms))
    client, asked = policies.client_of(town.suite, "rough-money"), ("orders >= 1", ["orders", "owner", "last_order_at"])
    hidden, shown = preview(client, *asked), preview(admin, *asked)
    assert not hidden.HasField("net_revenue") and shown.HasField("net_revenue")
    groups = [[(each.value, each.highest, each.customers) for breakdown in seen.breakdowns for each in breakdown.groups]
              for seen in (hidden, shown)]
    assert groups[0] == groups[1] and len(groups[0]) > 20
    assert not any(each.HasField("net_revenue") for breakdown in hidden.breakdowns for each in breakdown.groups)
    assert all(each.HasField("net_revenue") for breakdown in shown.breakdowns for each in breakdown.groups)


def a_purchase_and_the_passing_of_time_move_customers_between_groups(fresh):
    admin = fresh.client("admin")
    names = segments.take_in(admin, facts.order("ann", "a", days=20, cents=1_050), facts.order("ben", "b", days=50, cents=2_099))
    segments.static(admin, "list")
    segments.add(admin, "segments/list", [names["ann"]])

    def told():
        """By orders, by money and by orders of 30 days, {value: customers}; and the overlap with the list."""
        seen = preview(admin, "true", ["orders", "net_revenue", "orders_30"], ["segments/list"])
        return *({Decimal(each.value): each.customers for each in of.groups} for of in seen.breakdowns), seen.overlaps[0].jaccard
    assert told() == ({1: 2}, {Decimal("10.50"): 1, Decimal("20.99"): 1}, {0: 1, 1: 1}, 0.5)
    segments.take_in(admin, facts.order("ben", "c", days=10, cents=1))
    assert told() == ({1: 1, 2: 1}, {Decimal("10.50"): 1, 21: 1}, {1: 2}, 0.5)
    questions.set_clock(admin, facts.AS_OF + timedelta(days=15))
    segments.add(admin, "segments/list", [names["ben"]])
    assert told() == ({1: 1, 2: 1}, {Decimal("10.50"): 1, 21: 1}, {0: 1, 1: 1}, 1)
