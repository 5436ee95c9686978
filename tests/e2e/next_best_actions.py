"""What to do next with a customer: which of the playbooks that run it could be put into now, in which order, and what each would bring, as an
independent witness has it by what was measured of those whom the caller reaches."""
import random
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from types import SimpleNamespace

import pytest

from bad_playbook_questions import NO_CUSTOMERS
from support import facts, playbook_witness, playbooks, policies, questions, segments, waiting
from support.playbook_kit import ABSENT, is_refused
from support.playbook_witness import ASSIGNED, DAY, STANDINGS, Book, Observed, Person, Run, Witness, side_of, standing
from support.playbooks import (NEXT, after, content, end, enum_name, lead, next_actions, on_stages, on_warnings, outcome_of, runs_of, set_policy,
                               start, stop, variant, wait)
from support.refusals import NOT_FOUND
from support.retention import HOUR

POPULATION, GOAL, LATER = 260, 30, 61
LEADS, NEVER = on_stages("LEAD"), on_warnings("FEWER_INTERACTIONS", severity="HIGH")
HALF = {"holdout_basis_points": 5_000}
# Playbooks that everybody of the population goes through. Of the lucky and the hopeful one about sixty are held out, half as many as of others, so
# that more of what they seem to bring about may be chance.
TRIED = {
    "sure": content(LEADS, variants=[variant("a", end()), variant("b", end(), weight=2)], **HALF),
    "lucky": content(LEADS, end(), holdout_basis_points=1_700),
    "promising": content(LEADS, end(), again_after_days=GOAL, **HALF),
    "hopeful": content(LEADS, end(), again_after_days=GOAL + 1, holdout_basis_points=2_800),
    "doubtful": content(LEADS, variants=[variant("a", end()), variant("b", wait(90 * DAY), end())], again_after_days=10, **HALF),
    "harmful": content(LEADS, end(), **HALF),
    "few": content(LEADS, end(), holdout_basis_points=1_000),
    "late": content(LEADS, end(), goal_days=60, **HALF),
    "renewed": content(LEADS, end(), **HALF),
}
# What they seem to bring about.
WANTED = {"sure": 0.3, "lucky": 0.311, "promising": 0.04, "hopeful": 0.05, "doubtful": -0.05, "harmful": -0.3}
AGAIN = TRIED["renewed"] | {"purpose": "PURPOSE_MARKETING"}  # What is renewed becomes another version, which nobody is measured with.
RICH, RICH_LABEL = "segments/rich", "labelSets/money/labels/rich"
# Playbooks that nobody comes into. When they are asked for, `gone` and `lost` are segments that were there.
UNTRIED = {"for-north": {"audience": "segments/north"}, "not-north": {"excluded": "segments/north"}, "for-rich": {"audience": RICH},
           "not-rich": {"excluded": RICH_LABEL}, "for-gone": {"audience": "segments/gone"}, "not-lost": {"excluded": "segments/lost"}}
OF_MONEY = {"for-rich", "not-rich"}
REDACTED = {"FINANCIAL": {"form": "MASK_FORM_REDACTED"}}
OWN = {"FINANCIAL": {"form": "MASK_FORM_CLEAR", "condition": "owner == caller.subject"}}


@dataclass
class Customer:
    """What is planted of a customer: what it buys, in cents, of which refunds of its first order are less than nothing, and what it says to whom."""

    owner: str = "bob"
    region: str = "south"
    cents: list = field(default_factory=list)
    consents: frozenset = frozenset()
    objections: frozenset = frozenset()

    @property
    def segments(self):
        """Those that it is in. Of what is gone nobody is known to be a member, or not to be one."""
        north = {"segments/north"} if self.region == "north" else set()
        return north | ({RICH, RICH_LABEL} if sum(self.cents) >= 10_000 else set()) | {"segments/lost"}

    @property
    def average(self):
        """The average order value, rounded half to even. None: it has no order."""
        orders = sum(each > 0 for each in self.cents)
        return round(Fraction(sum(self.cents), orders)) if orders else None


# Those who were there before any playbook ran, and so have gone through none.
GUESTS = {"buyer": Customer("ann", "north", [10_000, 10_001], frozenset({"MARKETING"})), "lead": Customer("ann"),
          "nil": Customer("bob", "south", [800, -800]),
          "objector": Customer("ann", "south", [700], frozenset({"MARKETING"}), frozenset({"SUPPORT"})), "hidden": Customer("ann", "north", [900])}
# Who is asked about; the last two are of the population: one is being waited for in `doubtful`, and the other was held out of it.
ASKED = ("buyer", "lead", "nil", "objector", "waits", "held")


# -- what happens ---------------------------------------------------------------------------------------------------------

def bought(now, key, customer):
    """The rows of a customer's orders and refunds, all of the hours before now."""
    rows = []
    for place, cents in enumerate(customer.cents):
        at = facts.text_of(now - (len(customer.cents) - place) * HOUR)
        rows.append(facts.order(key, f"{key}-{place}", order_time=at, cents=cents) if cents > 0 else
                    facts.refund(key, f"{key}-{place}", refund_time=at, cents=-cents, order_event_id=f"{key}-0"))
    return rows


def meet_guests(office):
    office.take_in(*(row for key, each in GUESTS.items() for row in (
        lead(key, owner=each.owner, region=each.region), *bought(office.now, key, each))))
    for word, said in (("GIVEN", "consents"), ("OBJECTED", "objections")):
        office.consent({(key, purpose): word for key, each in GUESTS.items() for purpose in getattr(each, said)})
    numbers = {key: office.number(key) for key in GUESTS}
    office.passing(office.client.call("PrivacyService/RestrictProcessing", {"name": f"customers/{numbers['hidden']}"}))
    return numbers


def make_playbooks(client):
    """Starts all of them: {id: book}. One is a draft, and another is stopped again."""
    for segment_id in ("north", "gone", "lost"):
        segments.create(client, segment_id, 'region == "north"')
    segments.create(client, "rich", "net_revenue >= 100")
    segments.label_set(client, "money", {"rich": "net_revenue >= 100"})
    books = {key: Book(f"playbooks/{key}", 1, made) for key, made in TRIED.items()}
    books |= {key: Book(f"playbooks/{key}", 1, content(NEVER, end(), **HALF, **whom)) for key, whom in UNTRIED.items()}
    for key in (*books, "draft", "stopped"):
        made = books[key].content if key in books else content(NEVER, end())
        client.call(playbooks.CREATE, {"playbook_id": key, "playbook": made | {"display_name": title(key)}})
        if key != "draft":
            start(client, f"playbooks/{key}")
    stop(client, "playbooks/stopped")
    return books


def title(key):
    return f"Our {key} one"


def nearest(sides, chance):
    """Whether each customer buys, so that uplifts come near to what is wanted: `sides` tells of each playbook whether each customer was treated. Half
    do at first; then one after the other does the opposite where that comes nearer, until it does for nobody."""
    sizes = {key: (side.count(False), side.count(True)) for key, side in sides.items()}
    counts, buys = {key: [0, 0] for key in sides}, [False] * POPULATION

    def turn(place):
        buys[place] = not buys[place]
        for key, side in sides.items():
            counts[key][side[place]] += 1 if buys[place] else -1

    def distance():
        shares = {key: [count / size for count, size in zip(counts[key], sizes[key], strict=True)] for key in sides}
        return sum((treated - held - WANTED[key]) ** 2 for key, (held, treated) in shares.items())
    for place in chance.sample(range(POPULATION), POPULATION // 2):
        turn(place)
    least, before = distance(), None
    while least != before:
        before = least
        for place in range(POPULATION):
            turn(place)
            if distance() < least:
                least = distance()
            else:
                turn(place)
    return buys


def bring_population(shop):
    """Leads come, of whom the side in every playbook is known. Those of them buy by whom the playbooks seem to be what they are called."""
    office, names = shop.office, [shop.books[key].name for key in TRIED]
    office.take_in(*(lead(key, owner=each.owner) for key, each in shop.population.items()))
    waiting.until(lambda: all(len(runs_of(shop.client, name, ASSIGNED)) == POPULATION for name in names), "everybody to be assigned")
    shop.numbers |= {key: number for key, number in questions.numbers_of(shop.client).items() if key in shop.population}
    sides = {key: [bool(side_of(shop.books[key], shop.numbers[each])) for each in shop.population] for key in WANTED}
    for seed in range(100):
        chance = random.Random(seed)
        for each, buys in zip(shop.population.values(), nearest(sides, chance), strict=True):
            each.cents = [chance.randrange(300, 5_000) for _ in range(chance.randrange(1, 3))] if buys else []
        if is_wanted(shop):
            break
    assert is_wanted(shop), f"there is no such population: {[uplift_of(shop, key) for key in WANTED]}"
    office.take_in(*(row for key, each in shop.population.items() for row in bought(office.now, key, each)))
    office.move(after(GOAL), *names)


def is_wanted(shop):
    """Whether playbooks seem to be what they are called, and the luckier of two that are alike is the less sure."""
    found = {key: uplift_of(shop, key) for key in WANTED}
    ought = ["PROVEN", "PROVEN", "PROMISING", "PROMISING", "DOUBTFUL", "HARMFUL"]
    return [standing(each) for each in found.values()] == ought and all(
        found[luckier].value > found[surer].value + 0.001 and found[luckier].low < found[surer].low - 0.001
        for luckier, surer in (("lucky", "sure"), ("hopeful", "promising")))


@pytest.fixture(scope="module")
def shop(backend):
    """Guests whom playbooks may be chosen for, thirty days behind a population by which these were measured, and clients of roles."""
    with playbooks.company(backend) as office:
        client, numbers = office.client, meet_guests(office)
        shop = SimpleNamespace(office=office, client=client, numbers=numbers, books=make_playbooks(client))
        shop.measured = TRIED.keys() - {"late", "renewed"}
        shop.population = {f"c-{n}": Customer("ann" if n % 3 else "bob", "") for n in range(POPULATION)}
        bring_population(shop)
        stop(client, "playbooks/renewed")
        client.call(playbooks.UPDATE, {"playbook": AGAIN | {"name": "playbooks/renewed", "display_name": title("renewed")}})
        assert start(client, "playbooks/renewed").version == 2
        shop.books["renewed"] = Book("playbooks/renewed", 2, AGAIN)
        for name in ("segments/gone", "segments/lost"):
            segments.delete(client, name)
        doubted = {key: side_of(shop.books["doubtful"], shop.numbers[key]) for key in shop.population}
        waits, held = (next(key for key in doubted if doubted[key] == side) for side in ("b", ""))
        shop.people = GUESTS | {"waits": shop.population[waits], "held": shop.population[held]}
        shop.numbers |= {"waits": shop.numbers[waits], "held": shop.numbers[held]}
        policies.publish(client, policies.role_like(client, "admin", "scoped", without=policies.TAKING_IN, row_scope="owner == caller.subject"),
                         policies.role_like(client, "admin", "no-money", forms=REDACTED), policies.role_like(client, "admin", "own-money", forms=OWN))
        shop.clients = {role: policies.client_of(office.suite, role, "ann") for role in ("scoped", "no-money", "own-money")}
        shop.clients["marketer"] = office.suite.client("marketer")
        yield shop


# -- the witness ----------------------------------------------------------------------------------------------------------

def everybody(_customer):
    return True


def anns(customer):
    return customer.owner == "ann"


def nobody(_customer):
    return False


def sides_of(shop, book, reach=everybody):
    """(what those did who were treated, what those did who were held out) of those who are reached and measured, with the version that runs."""
    sides = {True: [], False: []}
    for key, each in shop.population.items() if book in shop.measured else ():
        if reach(each):
            sides[bool(side_of(shop.books[book], shop.numbers[key]))].append(Observed(bool(each.cents), sum(each.cents), 0))
    return sides[True], sides[False]


def uplift_of(shop, book, reach=everybody):
    """The uplift and its bounds. None: nobody is measured on one of the sides."""
    treated, holdout = sides_of(shop, book, reach)
    return playbook_witness.uplift(treated, holdout) if treated and holdout else None


def refusal_of(shop, who, book):
    """Why a run of a playbook that was triggered now would be refused."""
    customer, witness = shop.people[who], Witness()
    person = Person(shop.numbers[who], consents=customer.consents, objections=customer.objections, segments=customer.segments)
    if who not in GUESTS and book in TRIED:
        witness.trigger(person, Book(shop.books[book].name, 1, TRIED[book]), after(0))
        witness.go(shop.office.now)
    return witness.refusal(Run(person, shop.books[book], shop.office.now))


def value_of(shop, customer, book, reach):
    """What a purchase is worth. Of whoever has made none: the mean of what was spent by those who were measured and have bought, or nothing."""
    if customer.average is not None:
        return customer.average
    spent = [each.revenue for side in sides_of(shop, book, reach) for each in side if each.converted]
    return Fraction(sum(spent), len(spent)) if spent else 0


# -- what is told ---------------------------------------------------------------------------------------------------------

def ask(shop, who, client=None):
    return next_actions(client or shop.client, f"customers/{shop.numbers[who]}")


def books_in(told):
    """The ids of the playbooks, in their order."""
    return [each.playbook.removeprefix("playbooks/") for each in told.actions]


def is_near(money, ought):
    """Whether money is what it ought to be, rounded to cents."""
    return abs(facts.cents_of(money) - ought) < 0.501


def assert_actions(shop, who, client=None, reach=everybody):
    """All that the customer could be put into is told, and nothing else, each with its figures, the best first."""
    told = ask(shop, who, client)
    assert told.customer == f"customers/{shop.numbers[who]}" and questions.reached(told.watermark, 0, shop.office.now), told
    found, ranks = books_in(told), {}
    assert sorted(found) == sorted(book for book in shop.books if refusal_of(shop, who, book) == "UNSPECIFIED")
    for book, each in zip(found, told.actions, strict=True):
        uplift, worth = uplift_of(shop, book, reach), value_of(shop, shop.people[who], book, reach)
        assert (each.display_name, each.version, enum_name(each, "standing")) == (title(book), shop.books[book].version, standing(uplift)), each
        assert is_near(each.value, worth), (each, worth)
        assert (each.HasField("uplift"), each.HasField("expected"), each.HasField("at_least")) == (
            uplift is not None, uplift is not None, uplift is not None and uplift.low is not None), each
        value = facts.cents_of(each.value)
        if uplift is not None:
            playbooks.assert_uplift(each.uplift, uplift)
            assert is_near(each.expected, uplift.value * value), (each, uplift)
            assert uplift.low is None or is_near(each.at_least, uplift.low * value), (each, uplift)
        ranks[book] = playbook_witness.rank(uplift, value, book)
    assert found == sorted(found, key=ranks.get), ranks
    return told


@pytest.mark.parametrize("who", ASKED)
def what_a_customer_could_be_put_into_now_is_ranked_as_the_witness_has_it(shop, who):
    assert_actions(shop, who)


def among_all_of_them_there_is_every_standing_and_every_reason_to_leave_one_out(shop):
    """So that what is asked above is something."""
    assert {enum_name(each, "standing") for each in ask(shop, "buyer").actions} == set(STANDINGS)
    reasons = {who: {book: refusal_of(shop, who, book) for book in shop.books} for who in ASKED}
    assert Counter(each for of in reasons.values() for each in of.values()).keys() == {"UNSPECIFIED", "AGAIN", "CONSENT", "AUDIENCE", "EXCLUDED"}
    assert (reasons["held"]["promising"], reasons["held"]["hopeful"]) == ("UNSPECIFIED", "AGAIN"), "thirty days are over, and thirty-one are not"
    assert (reasons["held"]["doubtful"], reasons["waits"]["doubtful"]) == ("UNSPECIFIED", "AGAIN"), "one has nothing under way"


def of_those_that_help_the_surest_is_first_and_of_those_that_may_the_one_that_seems_to_bring_most(shop):
    """Of those of which nothing is known, the first by value; where all is alike, by name."""
    buyer = books_in(ask(shop, "buyer"))
    assert buyer[:4] == ["sure", "lucky", "hopeful", "promising"] and buyer[-2:] == ["doubtful", "harmful"]
    assert buyer[4:-2] == ["few", "for-north", "for-rich", "late", "renewed"]
    assert books_in(ask(shop, "objector")) == ["renewed"]
    # Where nothing has any value the standing alone, and then the name.
    assert books_in(ask(shop, "nil")) == ["lucky", "sure", "hopeful", "promising", "few", "late", "not-north", "not-rich", "doubtful", "harmful"]
    unknown = [each for each in ask(shop, "lead").actions if enum_name(each, "standing") == "UNKNOWN"]
    assert [(each.playbook, facts.cents_of(each.value) > 0) for each in unknown] == [
        ("playbooks/few", True), ("playbooks/late", False), ("playbooks/not-north", False), ("playbooks/not-rich", False)]


def what_does_not_run_is_not_there_and_another_version_is_measured_by_itself(shop):
    told = {each.playbook: each for who in ASKED for each in ask(shop, who).actions}
    assert not told.keys() & {"playbooks/draft", "playbooks/stopped", "playbooks/for-gone", "playbooks/not-lost"}
    renewed, first = told["playbooks/renewed"], outcome_of(shop.client, "playbooks/renewed", 1).effects[0]
    assert renewed.version == 2 and first.HasField("uplift") and not renewed.HasField("uplift")


def neither_a_pause_nor_quiet_hours_nor_a_cap_leaves_anything_out(shop):
    """By these a run would not be refused."""
    before = questions.without_watermark(ask(shop, "buyer"))
    try:
        set_policy(shop.client, hours=(0, 23), paused=True, max_contacts=1, cap_days=365)
        assert questions.without_watermark(ask(shop, "buyer")) == before
    finally:
        set_policy(shop.client)


# -- who is asked about ---------------------------------------------------------------------------------------------------

def of_whoever_is_not_there_or_restricted_nothing_is_told(shop):
    nobody_there = shop.client.refused(NEXT, {"customer": ABSENT}).must_be(NOT_FOUND, "NOT_FOUND")
    restricted = shop.client.refused(NEXT, {"customer": f"customers/{shop.numbers['hidden']}"})
    assert restricted.answer == nobody_there.answer


def a_customer_whose_name_is_none_is_refused_by_its_field(shop):
    for name in (*NO_CUSTOMERS, "customers/-", f"customers/{shop.numbers['buyer']}/stage"):
        is_refused(shop.client, NEXT, {"customer": name}, "customer")


# -- who asks -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("role", ["service", "analyst", "data-engineer"])
def whoever_reaches_everybody_is_told_the_same(shop, role):
    client = shop.office.suite.client(role)
    for who in ASKED:
        assert questions.without_watermark(ask(shop, who, client)) == questions.without_watermark(ask(shop, who))


@pytest.mark.parametrize("role", ["admin", "scoped", "marketer", "no-money"])
def an_uplift_is_that_of_the_outcome_as_the_caller_is_told_it(shop, role):
    client = shop.clients.get(role, shop.client)
    told = ask(shop, "buyer", client)
    for each in told.actions:
        first = outcome_of(client, each.playbook).effects[0]
        assert first.variant == "" and (each.HasField("uplift"), each.uplift) == (first.HasField("uplift"), first.uplift), each
    assert any(each.HasField("uplift") for each in told.actions) == (role != "marketer")


def a_role_with_a_row_scope_is_told_what_was_measured_of_its_own_customers(shop):
    """Of whom there are fewer, so that less is known."""
    client, standings = shop.clients["scoped"], {}
    for who in ("buyer", "lead", "objector"):
        standings[who] = {each.playbook: enum_name(each, "standing") for each in assert_actions(shop, who, client, anns).actions}
    whole = {each.playbook: enum_name(each, "standing") for each in ask(shop, "buyer").actions}
    assert (whole["playbooks/lucky"], standings["buyer"]["playbooks/lucky"]) == ("PROVEN", "UNKNOWN")
    nobody_there = client.refused(NEXT, {"customer": ABSENT}).must_be(NOT_FOUND, "NOT_FOUND")
    assert client.refused(NEXT, {"customer": f"customers/{shop.numbers['nil']}"}).answer == nobody_there.answer


def a_role_that_reaches_nobody_who_was_measured_knows_of_no_uplift(shop):
    """Marketers reach those who consent to marketing."""
    client = shop.clients["marketer"]
    told = assert_actions(shop, "buyer", client, nobody)
    assert {enum_name(each, "standing") for each in told.actions} == {"UNKNOWN"} and books_in(told) == sorted(books_in(told))
    nobody_there = client.refused(NEXT, {"customer": ABSENT}).must_be(NOT_FOUND, "NOT_FOUND")
    assert client.refused(NEXT, {"customer": f"customers/{shop.numbers['lead']}"}).answer == nobody_there.answer


@pytest.mark.parametrize("role", ["no-money", "own-money"])
def whoever_may_not_read_money_is_told_of_none_and_of_no_playbook_that_goes_by_it(shop, role):
    """Whether a playbook for those who spend much is there would tell whether the customer does."""
    client = shop.clients[role]
    for who, is_own in (("buyer", True), ("nil", False)):
        seen, whole = ask(shop, who, client), ask(shop, who)
        assert OF_MONEY & set(books_in(whole)) and not OF_MONEY & set(books_in(seen))
        expected = [each for book, each in zip(books_in(whole), whole.actions, strict=True) if book not in OF_MONEY]
        for each in expected if role == "no-money" or not is_own else ():
            for name in ("value", "expected", "at_least"):
                each.ClearField(name)
        assert list(seen.actions) == expected
    assert not OF_MONEY & set(books_in(ask(shop, "lead", client)))


def what_was_told_of_whom_to_whom_is_on_record(shop):
    customer = f"customers/{shop.numbers['buyer']}"
    ask(shop, "buyer", shop.office.suite.client("analyst", subject="curious"))
    method = shop.office.suite.api().method_on("lifecycle", "AuditService/ListAuditEvents")

    def on_record():
        events = questions.everything(shop.client, method, "events", subject="curious", customer=customer, kind="AUDIT_KIND_READ")
        return {each.method.split("/")[-1] for each in events}
    waiting.until(lambda: on_record() == {"GetNextBestActions"}, lambda: f"{on_record()} to be on record")


# -- as time goes on ------------------------------------------------------------------------------------------------------

def what_is_measured_later_is_told_a_minute_later_and_whoever_may_be_asked_again_is_so_at_once(shop):
    """The last test of this file, as it moves time. What was told before may be told for a minute more, as it is counted for all customers; whom
    playbooks are for is found out anew for each."""
    assert "hopeful" not in books_in(ask(shop, "held"))
    assert not next(each for each in ask(shop, "lead").actions if each.playbook == "playbooks/late").HasField("uplift")
    shop.office.move(after(LATER), "playbooks/late")
    assert "hopeful" in books_in(ask(shop, "held"))
    shop.measured |= {"late"}

    def is_told():
        return next(each for each in ask(shop, "lead").actions if each.playbook == "playbooks/late").HasField("uplift")
    waiting.until(is_told, "what was measured to be told", seconds=90, interval=1)
    for who in ("lead", "held"):
        assert_actions(shop, who)
