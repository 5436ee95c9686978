"""Fields of a tenant's own in rules: what its traits and score models say of customers is counted, followed and broken down by, and stays known."""
import contextlib
import sqlite3
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import pytest

from support import facts, policies, questions, quintile, score_models, segments, traits, waiting
from support.refusals import INVALID_ARGUMENT, PERMISSION_DENIED
from support.score_models import dimension
from support.watching import cause, watch

CUSTOMERS = 40
INT, TEXT, INSTANT, MONEY, DECIMAL = 1, 2, 4, 5, 6  # As FieldType numbers them.
TEA = 'category == "tea"'
# id: (definition, type of the field)
TRAITS = {"large-orders": (("ORDER", "COUNT", "", "amount >= 20"), INT), "tea-spend": (("ORDER_LINE", "SUM", "amount", TEA), MONEY),
          "last-tea": (("ORDER_LINE", "LAST", "product", TEA), TEXT), "last-tea-at": (("ORDER_LINE", "MAX", "at", TEA), INSTANT),
          "visits": (("INTERACTION", "COUNT", ""), INT), "pieces-a-line": (("ORDER_LINE", "MEAN", "quantity"), DECIMAL)}
OF_MONEY = ["trait.large_orders", "trait.tea_spend"]
DENIED = (PERMISSION_DENIED, "FIELD_DENIED")


def spelt(trait_id):
    return f"trait.{trait_id.replace('-', '_')}"


def known(client):
    """{name: field}"""
    return {each.name: each for each in client.call("ExpressionService/ListFields").fields}


def wait_for_fields(client, *names):
    waiting.until(lambda: set(names) <= known(client).keys(), lambda: f"{names} among {sorted(known(client))}")


def define(client, trait_id, *definition):
    """A trait that everybody has, as far as segmentation sees."""
    traits.done(client, traits.define(client, trait_id, *definition))
    questions.wait_for(client, questions.take_in(client, facts.customer(uuid.uuid4().hex)).facts_position)


def delete(client, trait_id):
    traits.done(client, client.call("TraitService/DeleteTrait", {"name": f"traits/{trait_id}"}))


def count(client, rule):
    return questions.preview(client, rule).customers


def groups(client, field, rule="true"):
    """{value or range: customers}; "" is nobody's value."""
    seen = client.call("SegmentService/PreviewSegment", {"expression": rule, "breakdown_fields": [field]}).breakdowns[0]
    assert seen.field == field
    return {each.value: each.customers for each in seen.groups}


def pieces(place):
    """The pieces of each line of a customer."""
    return [1 + (place // 4 + 2 * n) % 5 for n in range(place % 4)]


def rows_of(place):
    """Up to three orders of tea or of something else, and up to two visits."""
    key = f"c{place}"
    yield facts.customer(key)
    for n, quantity in enumerate(pieces(place)):
        money = facts.dollars(700 + 400 * (place % 9) + 100 * n)
        line = {"product": ["assam", "sencha", "pot"][(place + n) % 3], "category": ["tea", "tea", "kitchen"][(place + n) % 3],
                "quantity": quantity, "amount": money}
        yield {"order": facts.order(key, f"{key}-{n}", days=3 + 10 * n + place)["order"] | {"lines": [line], "amount": money}}
    for n in range(place % 3):
        yield facts.interaction(key, f"{key}-v{n}")


@pytest.fixture(scope="module")
def town(shared):
    """Customers with traits of every type, by what the services say of each; and one who may call everything and reads no money."""
    admin = shared.client("admin")
    names = segments.take_in(admin, *(row for place in range(CUSTOMERS) for row in rows_of(place)))
    for trait_id, (definition, _) in TRAITS.items():
        define(admin, trait_id, *definition)
    policies.publish(admin, policies.role_like(admin, "admin", "no-money", forms={"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}))
    fields = [spelt(trait_id) for trait_id in TRAITS]
    wait_for_fields(admin, *fields)
    held = {name: traits.values(admin, name) for name in questions.names_of(admin, facts.SOURCE).values()}
    assert len(held) > len(names) >= CUSTOMERS
    return SimpleNamespace(suite=shared, admin=admin, names=names, held=held, blind=policies.client_of(shared, "no-money"))


def of(town, trait_id):
    """The values of a trait, of those who have one: money in major units, instants as such."""
    kind, values = TRAITS[trait_id][1], {name: each.get(trait_id) for name, each in town.held.items()}
    read = {MONEY: lambda value: Decimal(value) / 100, INSTANT: datetime.fromisoformat}.get(kind, lambda value: value)
    return {name: read(value) for name, value in values.items() if value not in (None, "")}


# -- traits ---------------------------------------------------------------------------------------------------------------

def every_trait_is_listed_with_its_type(town):
    told = known(town.admin)
    assert list(told) == sorted(told)
    mine = {name: field.value_type for name, field in told.items() if name.startswith("trait.")}
    assert mine == {spelt(trait_id): kind for trait_id, (_, kind) in TRAITS.items()}
    assert all(told[name].usable and told[name].description for name in mine)
    checked = town.admin.call("ExpressionService/CheckExpression", {"expression": "trait.visits>=2&&has(trait.last_tea)"})
    assert list(checked.fields) == ["trait.last_tea", "trait.visits"] and not checked.HasField("problem")


@pytest.mark.parametrize("rule,trait_id,holds", [
    ("trait.large_orders >= 1", "large-orders", lambda value: value >= 1),
    ("trait.large_orders == 0", "large-orders", lambda value: value == 0),
    ("trait.visits in [1, 2]", "visits", lambda value: value in (1, 2)),
    ("trait.tea_spend >= 22.50", "tea-spend", lambda value: value >= Decimal("22.50")),
    ("trait.tea_spend != 0", "tea-spend", lambda value: value != 0),
    ('trait.last_tea == "sencha"', "last-tea", lambda value: value == "sencha"),
    ('trait.last_tea.startsWith("as")', "last-tea", lambda value: value.startswith("as")),
    ("has(trait.last_tea)", "last-tea", lambda value: True),
    ("days_since(trait.last_tea_at) > 20", "last-tea-at", lambda value: (facts.AS_OF - value).days > 20),
    ('trait.last_tea_at < timestamp("1998-06-15T00:00:00Z")', "last-tea-at", lambda value: value < facts.AS_OF - timedelta(days=16))])
def a_rule_of_a_trait_counts_those_of_whom_it_holds(town, rule, trait_id, holds):
    expected = {name for name, value in of(town, trait_id).items() if holds(value)}
    seen = questions.preview(town.admin, rule, 100)
    assert (seen.customers, set(seen.sample)) == (len(expected), expected) and 0 < len(expected) < len(town.held)
    assert count(town.admin, f"!({rule})") == len(town.held) - len(expected)


def means(town):
    """Pieces a line in thousandths, the nearest, of those who have bought."""
    found = {town.names[f"c{place}"]: pieces(place) for place in range(CUSTOMERS)}
    return {name: round(Fraction(1_000 * sum(each), len(each))) for name, each in found.items() if each}


@pytest.mark.parametrize("rule,holds", [
    ("trait.pieces_a_line >= 3", lambda mean: mean >= 3_000), ("trait.pieces_a_line == 2.333", lambda mean: mean == 2_333),
    ("trait.pieces_a_line > 2.333", lambda mean: mean > 2_333), ("trait.pieces_a_line != 2.0", lambda mean: mean != 2_000),
    ("trait.pieces_a_line in [2.5, 4, 2.667]", lambda mean: mean in (2_500, 4_000, 2_667)),
    ("-1.5 < trait.pieces_a_line && 2.667 > trait.pieces_a_line", lambda mean: mean < 2_667)])
def a_rule_of_a_mean_compares_thousandths(town, rule, holds):
    expected = {name for name, mean in means(town).items() if holds(mean)}
    seen = questions.preview(town.admin, rule, 100)
    assert (seen.customers, set(seen.sample)) == (len(expected), expected) and 0 < len(expected) < len(means(town))
    assert count(town.admin, f"!({rule})") == len(town.held) - len(expected)
    checked = town.admin.call("ExpressionService/CheckExpression", {"expression": rule}).formatted
    assert count(town.admin, checked) == len(expected) and ".0" not in checked


def a_mean_is_read_in_thousandths_everywhere(town):
    """In breakdowns, in comparisons, in refusals, and by a segment that is live."""
    admin, held = town.admin, means(town)
    values = [f"{mean // 1_000}.{mean % 1_000:03}" for mean in held.values()]
    assert groups(admin, "trait.pieces_a_line", "has(trait.pieces_a_line)") == {value: values.count(value) for value in set(values)}
    name = segments.create(admin, "by-the-dozen", "trait.pieces_a_line >= 2.667").name
    assert set(segments.members(admin, name)) == {each for each, mean in held.items() if mean >= 2_667}
    compared = admin.call("AnalysisService/CompareSegments", {"first": name, "fields": ["trait.pieces_a_line"]})
    low = min(mean for mean in held.values() if mean >= 2_667)
    assert compared.fields[0].first.p10 >= f"{low // 1_000}.{low % 1_000:03}" and compared.fields[0].effect > 0
    for wrong in ("trait.pieces_a_line > 2.3333", 'trait.pieces_a_line == "2"', "trait.pieces_a_line > trait.visits", "trait.visits > 1.5"):
        admin.refused("SegmentService/PreviewSegment", {"expression": wrong}).must_be(INVALID_ARGUMENT, "INVALID_EXPRESSION")
    segments.delete(admin, name)


def customers_are_broken_down_by_their_traits(town):
    for trait_id, (_, kind) in TRAITS.items():
        if kind in (INT, TEXT):
            values = list(map(str, of(town, trait_id).values()))
            expected = {value: values.count(value) for value in set(values)}
            missing = len(town.held) - len(values)
            assert groups(town.admin, spelt(trait_id)) == expected | ({"": missing} if missing else {}), trait_id
    money = groups(town.admin, "trait.tea_spend", "has(trait.tea_spend)")
    assert sum(money.values()) == len(of(town, "tea-spend")) and Decimal(min(money, key=Decimal)) == min(of(town, "tea-spend").values())


def who_reads_no_money_uses_no_trait_of_it(town):
    usable = {name: field.usable for name, field in known(town.blind).items() if name.startswith("trait.")}
    assert usable == {spelt(trait_id): spelt(trait_id) not in OF_MONEY for trait_id in TRAITS}
    segments.create(town.admin, "of-money", "trait.large_orders >= 1")
    for field in OF_MONEY:
        for method, request in (("PreviewSegment", {"expression": f"{field} > 0"}), ("PreviewSegment", {"expression": f"true || has({field})"}),
                                ("PreviewSegment", {"expression": "true", "breakdown_fields": [field]}),
                                ("CreateSegment", {"segment_id": "blind", "segment": {"expression": f"{field} > 0"}}),
                                ("PreviewSegment", {"expression": 'segment("of-money")'}), ("ListMembers", {"parent": "segments/of-money"})):
            town.blind.refused(f"SegmentService/{method}", request).must_be(*DENIED)
    assert count(town.blind, "trait.visits >= 1") == count(town.admin, "trait.visits >= 1") > 0
    assert "segments/of-money" not in {each.name for each in town.blind.call("SegmentService/ListSegments").segments}


@pytest.mark.parametrize("wrong,nearest", [("trait.large_order", "trait.large_orders"), ("trait.vists", "trait.visits"),
                                           ("trait.tea-spend", None), ("score.nobody.d1", None)])
def an_unknown_field_is_refused_with_its_nearest_neighbour(town, wrong, nearest):
    refusal = town.admin.refused("SegmentService/PreviewSegment", {"expression": f"{wrong} >= 1"})
    refusal.must_be(INVALID_ARGUMENT, "INVALID_EXPRESSION")
    assert [each.field for each in refusal.bad_request.field_violations] == ["expression"]
    assert nearest is None or f"`{nearest}`" in refusal.message + refusal.bad_request.field_violations[0].description
    refusal = town.admin.refused("SegmentService/PreviewSegment", {"expression": "true", "breakdown_fields": ["orders", wrong]})
    refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert [each.field for each in refusal.bad_request.field_violations] == ["breakdown_fields[1]"]


@pytest.mark.parametrize("trait_id", ["in", "true", "has", "a" * 63])
def a_trait_of_any_id_is_a_field_and_stops_nobody(fresh, trait_id):
    """Words of the language among them."""
    admin = fresh.client("admin")
    segments.take_in(admin, facts.interaction("ann", "i"))
    define(admin, trait_id, "INTERACTION", "COUNT")
    name = f"trait.{trait_id.upper()}" if trait_id in ("in", "true") else spelt(trait_id)
    wait_for_fields(admin, name)
    assert count(admin, f"{name} >= 1") == 1


# -- live -----------------------------------------------------------------------------------------------------------------

def a_purchase_and_time_move_customers_by_their_traits(fresh):
    admin = fresh.client("admin")
    ann, = segments.take_in(admin, facts.order("ann", "a", days=20, cents=2_500)).values()
    define(admin, "large", "ORDER", "COUNT", "", "amount >= 20")
    traits.done(admin, traits.define(admin, "large-lately", "ORDER", "COUNT", "", "amount >= 20", window_days=30))
    wait_for_fields(admin, "trait.large", "trait.large_lately")
    segments.create(admin, "twice", "trait.large >= 2")
    segments.create(admin, "lately", "trait.large_lately == 1")
    with watch(admin, segments.WATCH, {"parents": ["segments/twice", "segments/lately"]}) as watcher:
        watcher.until_caught_up()
        segments.take_in(admin, facts.order("ann", "b", days=2, cents=2_000), facts.order("ben", "c", days=1, cents=2_100))
        ben = questions.find(admin, "ben")
        segments.take_in(admin, facts.order("ann", "d", days=1, cents=1_999))
        questions.set_clock(admin, facts.AS_OF + timedelta(days=11))
        segments.take_in(admin, facts.refund("ann", "r", order_event_id="b"), facts.order("ann", "e", order_time=facts.days_after(10), cents=5_000))
        watcher.until(lambda said: sum(len(each.changes) for each in said) >= 5, "five changes")
        told = [(each.parent.split("/")[1], each.customer, each.entered, cause(each)) for each in watcher.changes()]
    # The oldest of Ann's leaves the window with time, and the one of the tenth day makes it two again.
    assert sorted(told) == sorted([("twice", ann, True, "RECORD"), ("lately", ann, False, "RECORD"), ("lately", ben, True, "RECORD"),
                                   ("lately", ann, True, "TIME"), ("lately", ann, False, "RECORD")])
    assert segments.members(admin, "segments/twice") == [ann] and segments.members(admin, "segments/lately") == [ben]


def a_trait_that_is_defined_anew_is_read_as_it_is_now(fresh):
    """As secret as it has become. What becomes of another type has no value under the old name."""
    admin = fresh.client("admin")
    policies.publish(admin, policies.role_like(admin, "admin", "no-money", forms={"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}))
    blind = policies.client_of(fresh, "no-money")
    segments.take_in(admin, *(facts.order(f"c{n}", "a", days=20, cents=1_000 * n) for n in range(1, 6)))
    define(admin, "of-orders", "ORDER", "COUNT")
    wait_for_fields(admin, "trait.of_orders")
    assert count(blind, "trait.of_orders == 1") == 5
    delete(admin, "of-orders")
    define(admin, "of-orders", "ORDER", "COUNT", "", "amount >= 30")
    waiting.until(lambda: count(admin, "trait.of_orders == 1") == 3, "the new values")
    blind.refused("SegmentService/PreviewSegment", {"expression": "trait.of_orders == 1"}).must_be(*DENIED)
    delete(admin, "of-orders")
    define(admin, "of-orders", "ORDER", "SUM", "amount")
    waiting.until(lambda: count(admin, "has(trait.of_orders)") == 0, "the old values to go")
    assert known(admin)["trait.of_orders"].value_type == INT


# -- score models ---------------------------------------------------------------------------------------------------------

def another_score_model_is_known_to_rules(fresh):
    admin = fresh.client("admin")
    rows = [facts.order(f"c{place}", f"{n}", days=2 + place * 9, cents=900 + 300 * place) for place in range(20) for n in range(1 + place % 5)]
    numbers = [segments.number(name) for name in segments.take_in(admin, facts.customer("silent"), *rows).values()]
    dimensions = [dimension(name, feature, cut_offs=cut_offs, weight=1) for name, feature, cut_offs in (
        ("often", "orders", [2, 3, 5]), ("much", "revenue", [2_000, 9_000]), ("days", "purchase_days", [1, 2]))]
    score_models.put_in_force(admin, "our-grade", *dimensions, grading={"vip_from": 60})
    fields = {"score.our_grade.d1": INT, "score.our_grade.d2": INT, "score.our_grade.d3": INT, "score.our_grade.value": INT,
              "score.our_grade.band": TEXT, "score.our_grade.tier": TEXT, "score.our_grade.vip": TEXT}
    wait_for_fields(admin, *fields)
    told = known(admin)
    assert {name: told[name].value_type for name in told if name.startswith("score.")} == fields
    scored = score_models.values(admin, numbers)
    values = {name: {} for name in fields}
    for number, each in scored.items():
        found, grade = score_models.of_model(each, "our-grade"), score_models.grade_of(each, "our-grade")
        for place, score in enumerate(found.scores if found else [], 1):
            values[f"score.our_grade.d{place}"] |= {number: str(score)} if score else {}
        if grade:
            words = (str(grade[0]), *grade[1:3], "yes" if grade[3] else "no")
            for word, value in zip(("value", "band", "tier", "vip"), words):
                values[f"score.our_grade.{word}"] |= {number: value} if value else {}

    def must_be_told():
        for name, of in values.items():
            expected = {value: list(of.values()).count(value) for value in set(of.values())}
            missing = len(numbers) - len(of)
            assert groups(admin, name) == expected | ({"": missing} if missing else {}), name
            assert count(admin, f"has({name})") == len(of)
    waiting.until(lambda: count(admin, "has(score.our_grade.value)") == len(values["score.our_grade.value"]), "grades to come")
    must_be_told()
    assert {len(set(of.values())) for of in values.values()} > {1} and set(values["score.our_grade.vip"].values()) == {"yes", "no"}
    vips = segments.create(admin, "vips", 'score.our_grade.vip == "yes" && score.our_grade.d1 >= 3').members
    # They are there behind a restart, and when nobody has a value any more.
    fresh.kill()
    admin = fresh.start().client("admin")
    must_be_told()
    assert segments.get(admin, "segments/vips").members == vips > 0
    score_models.retire(admin, "our-grade")
    waiting.until(lambda: count(admin, "has(score.our_grade.d1)") == 0, "scores to go")
    for again in (False, True):
        if again:
            assert fresh.stop() == 0
            admin = fresh.start().client("admin")
        assert {name: known(admin)[name].value_type for name in fields} == fields
        assert segments.get(admin, "segments/vips").members == 0 == count(admin, 'score.our_grade.vip == "yes"')


def a_trait_is_known_behind_a_restart_when_nobody_has_it(fresh):
    admin = fresh.client("admin")
    segments.take_in(admin, facts.order("ann", "a", lines=[{"product": "assam", "category": "tea", "quantity": 1}]))
    # Before anybody has a value, there is no field of it.
    define(admin, "last-pot", "ORDER_LINE", "LAST", "product", 'category == "pot"')
    define(admin, "last-tea", *TRAITS["last-tea"][0])
    wait_for_fields(admin, "trait.last_tea")
    assert "trait.last_pot" not in known(admin)
    rule = {"expression": 'trait.last_pot == "x"'}
    admin.refused("SegmentService/PreviewSegment", rule).must_be(INVALID_ARGUMENT, "INVALID_EXPRESSION")
    made = segments.create(admin, "drinkers", 'trait.last_tea == "assam"')
    assert made.members == 1
    delete(admin, "last-tea")
    waiting.until(lambda: segments.members(admin, made.name) == [], "nobody to have it")
    fresh.kill()
    admin = fresh.start().client("admin")
    assert known(admin)["trait.last_tea"].value_type == TEXT and segments.members(admin, made.name) == []
    define(admin, "last-tea", *TRAITS["last-tea"][0])
    waiting.until(lambda: segments.members(admin, made.name) == [questions.find(admin, "ann")], "Ann to have it again")


def forget_fields(suite):
    """Makes a stopped suite one whose records are older than that rules know any field of them."""
    if suite.database_url:
        with contextlib.closing(quintile.connect(suite.database_url)) as database:
            database.run("DELETE FROM segmentation.own_field")
    else:
        with contextlib.closing(sqlite3.connect(suite.data / "segmentation.sqlite", isolation_level=None)) as database:
            database.execute("DELETE FROM own_field")


def what_stored_records_have_is_known_before_another_comes(fresh):
    """As behind an upgrade to a release that knows more of a record; and it stays known when nobody has it any more."""
    admin = fresh.client("admin")
    lines = [{"product": "assam", "category": "tea", "quantity": quantity} for quantity in (1, 2, 2)]
    segments.take_in(admin, facts.order("ann", "a", lines=lines), facts.order("ben", "b", lines=lines[:1]))
    define(admin, "pieces-a-line", *TRAITS["pieces-a-line"][0])
    wait_for_fields(admin, "trait.pieces_a_line")
    rule = "trait.pieces_a_line == 1.667"
    made = segments.create(admin, "by-more", rule)
    assert made.members == 1
    assert fresh.stop() == 0
    forget_fields(fresh)
    admin = fresh.start().client("admin")
    assert known(admin)["trait.pieces_a_line"].value_type == DECIMAL and count(admin, rule) == 1
    assert segments.members(admin, made.name) == [questions.find(admin, "ann")]
    delete(admin, "pieces-a-line")
    waiting.until(lambda: segments.members(admin, made.name) == [], "nobody to have it")
    fresh.kill()
    admin = fresh.start().client("admin")
    assert known(admin)["trait.pieces_a_line"].value_type == DECIMAL and segments.members(admin, made.name) == []
