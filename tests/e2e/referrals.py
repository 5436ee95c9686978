"""Who has sent whom: whoever sends others who buy has referrals, whatever came first, whoever is one with whom, and whoever is no more."""
import random
import uuid

from support import facts, questions, score_models, score_witness
from support.refusals import FAILED_PRECONDITION
from support.watching import watch

PEOPLE, STEPS = 9, 60
PAST_DAYS = 100  # How long ago the past is that is asked about.
LOYALTY = [("repurchase", "purchase_days", 30), ("frequency", "orders_365", 30), ("satisfaction", "csat_mean", 20),
           ("recommendation", "last_nps", 20), ("referral", "referrals", 20)]


# -- by definition --------------------------------------------------------------------------------------------------------

class Witness:
    """Everything that was said and done, in its order; what follows from it is computed anew whenever it is asked for."""

    def __init__(self):
        self.numbers = {}  # {identity: number} of those who are known: each founded a customer.
        self.said = {}  # {identity: (when, the identity that it was sent by or None)}
        self.orders = {}  # {identity: days before business time}
        self.links = {}  # {merge: two identities}
        self.restricted = set()
        self.time = 0

    def group(self, identity):
        """All identities of one customer."""
        found = {identity}
        while True:
            more = {each for link in self.links.values() if found & set(link) for each in link} - found
            if not more:
                return frozenset(found)
            found |= more

    def groups(self):
        return {self.group(identity) for identity in self.numbers}

    def number(self, group):
        return min(self.numbers[each] for each in group)

    def founder(self, group):
        return min(group, key=self.numbers.get)

    def sent_by(self, group):
        """Of what a customer's identities say, what was said last."""
        when = [(*self.said[each], each) for each in group if each in self.said]
        return max(when, key=lambda each: each[0])[1] if when else None

    def say(self, identity, by, own):
        """Somebody says by whom a customer was sent; what is so already is no news, neither of the customer nor of what `own` has said."""
        self.time += 1
        if self.sent_by(self.group(identity)) != by or (own and self.said.get(identity, (0, None))[1] != by):
            self.said[identity] = (self.time, by)

    def erase(self, group):
        for identity in group:
            for kept in (self.numbers, self.said, self.orders):
                kept.pop(identity, None)
        self.links = {merge: link for merge, link in self.links.items() if not group & set(link)}
        self.restricted -= group
        self.said = {each: (when, None if by in group else by) for each, (when, by) in self.said.items()}

    def referrals(self, group, days=0):
        """How many others it has sent who had bought so many days ago."""
        others = [each for each in self.groups() - {group} if not each & self.restricted and self.sent_by(each) in group]
        return sum(any(age > days for identity in each for age in self.orders.get(identity, [])) for each in others)


# -- what is done ---------------------------------------------------------------------------------------------------------

def row(identity, by=None):
    """A customer row, with the source of whoever is named where it is another."""
    source, key = identity
    fields = {} if by is None else {"referrer": by[1]} | ({} if by[0] == source else {"referrer_source": by[0]})
    return facts.customer(key, source=source, **fields)


def order(identity, days):
    return facts.order(identity[1], uuid.uuid4().hex, days=days, source=identity[0])


def name_of(number):
    return f"customers/{number}"


def referrals(admin, number, **request):
    """What the record says, or the features as of another instant."""
    return admin.call("FeatureService/GetFeatures", {"name": f"{name_of(number)}/features"} | request).features.referrals


def touch(admin):
    """The position of a fact that is taken in now."""
    return questions.take_in(admin, facts.order(uuid.uuid4().hex, "e")).facts_position


class Town:
    """A suite and the witness, to whom everything happens alike."""

    def __init__(self, admin, prefix):
        self.admin, self.witness = admin, Witness()
        self.people = [("shop" if place % 2 else "crm", f"{prefix}-{place}") for place in range(PEOPLE)]

    def take(self, *rows):
        return self.admin.call("IngestService/IngestBatch", facts.batch(*rows)).facts_position

    def known(self, identity):
        if identity not in self.witness.numbers:
            name = questions.find(self.admin, identity[1], identity[0])
            self.witness.numbers[identity] = int(name.split("/")[1])

    def say(self, identity, by):
        position = self.take(row(identity, by))
        self.known(identity)
        self.witness.say(identity, by, own=True)
        return position

    def buy(self, identity, days):
        position = self.take(order(identity, days))
        self.known(identity)
        self.witness.orders.setdefault(identity, []).append(days)
        return position

    def change(self, group, by):
        """By hand; what is not said is taken away."""
        given = {} if by is None else {"referrer": by[1], "referrer_source": by[0]}
        customer = {"name": name_of(self.witness.number(group))} | given
        told = self.admin.call("CustomerService/UpdateCustomer", {"customer": customer, "update_mask": "referrer"})
        assert (told.referrer, told.referrer_source) == ((by[1], by[0]) if by else ("", ""))
        self.witness.say(self.witness.founder(group), by, own=False)
        return touch(self.admin)

    def merge(self, one, other):
        pair = [self.witness.founder(each) for each in (one, other)]
        names = [name_of(self.witness.numbers[each]) for each in pair]
        merged = self.admin.call("IdentityService/MergeCustomers", {"customer": names[0], "other": names[1]})
        self.witness.links[merged.name] = pair
        return merged.facts_position

    def unmerge(self, merge):
        self.witness.links.pop(merge)
        return self.admin.call("IdentityService/UnmergeCustomers", {"name": merge}).facts_position

    def restrict(self, group):
        is_restricted = bool(group & self.witness.restricted)
        self.witness.restricted = self.witness.restricted - group if is_restricted else self.witness.restricted | group
        method = "LiftRestriction" if is_restricted else "RestrictProcessing"
        return self.admin.call(f"PrivacyService/{method}", {"name": name_of(self.witness.number(group))}).facts_position

    def erase(self, group):
        erasure = self.admin.call("PrivacyService/EraseCustomer", {"name": name_of(self.witness.number(group))})
        self.witness.erase(group)
        return erasure.facts_position

    def step(self, chance):
        """Something happens: what it was, and the position of it."""
        groups = sorted(self.witness.groups(), key=self.witness.number)
        somebody, another = chance.choice(self.people), chance.choice([*self.people, ("partner", "a site")])
        kinds = ["say"] * 6 + ["buy"] * 5
        kinds += ["change", "change", "restrict"] if groups else []
        kinds += ["merge"] if len(groups) > 1 else []
        kinds += ["unmerge"] if self.witness.links else []
        kinds += ["erase"] if len(groups) > 5 else []
        match chance.choice(kinds):
            case "say":
                return ("say", somebody, another), self.say(somebody, another)
            case "buy":
                days = chance.randrange(1, 2 * PAST_DAYS)
                return ("buy", somebody, days), self.buy(somebody, days)
            case "change":
                group, by = chance.choice(groups), chance.choice([None, another])
                return ("change", group, by), self.change(group, by)
            case "merge":
                pair = chance.sample(groups, 2)
                return ("merge", *pair), self.merge(*pair)
            case "unmerge":
                merge = chance.choice(list(self.witness.links))
                return ("unmerge", merge), self.unmerge(merge)
            case kind:
                group = chance.choice(groups)
                return (kind, group), self.restrict(group) if kind == "restrict" else self.erase(group)

    def assert_true(self, done):
        """The records of everybody who has one say what follows from what was done."""
        groups = [each for each in self.witness.groups() if not each & self.witness.restricted]
        told = {each: referrals(self.admin, self.witness.number(each)) for each in groups}
        assert told == {each: self.witness.referrals(each) for each in groups}, done
        as_of = facts.days_before(PAST_DAYS)
        told = {each: referrals(self.admin, self.witness.number(each), as_of=as_of) for each in groups}
        assert told == {each: self.witness.referrals(each, PAST_DAYS) for each in groups}, done


# -- what ought to come of it ---------------------------------------------------------------------------------------------

def referrals_follow_whatever_is_said_bought_merged_parted_restricted_and_erased(admin, new):
    chance, town, done, most = random.Random(24), Town(admin, new), [], 0
    for _ in range(STEPS):
        what, position = town.step(chance)
        done.append(what)
        questions.wait_for(admin, position)
        town.assert_true(done)
        most = max([most, *(town.witness.referrals(each) for each in town.witness.groups())])
    assert most >= 2 and {what[0] for what in done} == {"say", "buy", "change", "merge", "unmerge", "restrict", "erase"}


def the_order_in_which_rows_come_does_not_show(admin, new):
    """Those who send before and behind those who are sent, a chain, a circle, one who names himself, and a partner whom nobody knows."""
    for place in range(3):
        person = lambda key: ("shop", f"{new}-{place}-{key}")  # noqa: B023, E731
        names = {"b": "a", "c": "a", "d": "a", "e": "d", "a": "e", "f": "f", "g": "nobody", "h": "a"}
        rows = [row(person(each), person(by)) for each, by in names.items()]
        rows += [order(person(each), days) for each in "abcdefg" for days in (3, 9)]  # h has not bought.
        random.Random(place).shuffle(rows)
        questions.take_in(admin, *rows[:11])
        questions.wait_for(admin, questions.take_in(admin, *rows[11:]).facts_position)
        told = {each: questions.features(admin, questions.find(admin, person(each)[1])).referrals for each in "abcdefgh"}
        assert told == {"a": 3, "d": 1, "e": 1, **dict.fromkeys("bcfgh", 0)}


def a_bulk_of_those_who_were_sent_counts_and_so_do_their_live_orders(admin, new):
    sent = [("shop", f"{new}-{place}") for place in range(550)]
    rows = [row(each, ("crm", new)) for each in sent] + [order(each, 5) for each in sent[:540]]
    questions.take_in(admin, *rows)
    questions.wait_for(admin, questions.take_in(admin, row(("crm", new))).facts_position)
    number = int(questions.find(admin, new, "crm").split("/")[1])
    assert referrals(admin, number) == 540
    # Of the first five it is another order, of the others the first.
    questions.wait_for(admin, questions.take_in(admin, *(order(each, 4) for each in sent[535:545])).facts_position)
    assert referrals(admin, number) == 545


def a_segment_of_those_who_send_others_is_entered_when_the_third_buys_and_left_when_one_is_erased(admin, new):
    segment = questions.save_segment(admin, f"senders-{new[:20]}", "referrals >= 3")
    rows = [row(("shop", f"{new}-{place}"), ("shop", new)) for place in range(3)]
    rows += [order(("shop", f"{new}-{place}"), 5) for place in range(2)]
    questions.wait_for(admin, questions.take_in(admin, row(("shop", new)), *rows).facts_position)
    name = questions.find(admin, new)
    assert not questions.is_member(admin, segment, name)
    with watch(admin, "SegmentService/WatchMemberships", {"parents": [segment]}) as watcher:
        watcher.until_caught_up()
        questions.take_in(admin, order(("shop", f"{new}-2"), 1))
        watcher.until(lambda _said: [each.entered for each in watcher.changes(name)] == [True], "the sender to enter")
        admin.call("PrivacyService/EraseCustomer", {"name": questions.find(admin, f"{new}-0")})
        watcher.until(lambda _said: [each.entered for each in watcher.changes(name)] == [True, False], "the sender to leave")


def whoever_is_erased_is_named_by_nobody_any_more(admin, new):
    """Neither as what is shown, nor by what another said since hides; whoever comes under the same id later has sent nobody."""
    gone, sent, other = (("shop", f"{new}-{each}") for each in ("gone", "sent", "other"))
    questions.take_in(admin, row(gone), row(sent, gone), order(sent, 5), row(other, gone))
    names = [questions.find(admin, each[1]) for each in (sent, other)]
    merged = admin.call("IdentityService/MergeCustomers", {"customer": names[0], "other": names[1]})
    questions.take_in(admin, row(other, ("shop", "somebody else")))
    assert admin.call("CustomerService/GetCustomer", {"name": names[0]}).referrer == "somebody else"
    admin.call("PrivacyService/EraseCustomer", {"name": questions.find(admin, gone[1])})
    admin.call("IdentityService/UnmergeCustomers", {"name": merged.name})
    told = [admin.call("CustomerService/GetCustomer", {"name": name}) for name in names]
    assert [(each.HasField("referrer"), each.HasField("referrer_source")) for each in told] == [(False, False), (True, True)]
    questions.wait_for(admin, questions.take_in(admin, row(gone)).facts_position)
    assert questions.features(admin, questions.find(admin, gone[1])).referrals == 0


def an_erasure_counts_whom_it_brings_to_light_and_one_that_is_refused_takes_nothing_away(admin, new):
    gone, hidden, sent, other, earlier = (("shop", f"{new}-{each}") for each in ("gone", "hidden", "sent", "other", "earlier"))
    # Said in one batch, and so at one instant: what the lower number says is shown.
    questions.take_in(admin, row(gone), row(hidden), row(earlier), row(sent, gone), row(other, hidden), order(sent, 5))
    name, of_hidden, of_earlier, *pair = (questions.find(admin, each[1]) for each in (gone, hidden, earlier, sent, other))
    merged = admin.call("IdentityService/MergeCustomers", {"customer": pair[0], "other": pair[1]})
    questions.wait_for(admin, merged.facts_position)
    assert [questions.features(admin, each).referrals for each in (name, of_hidden)] == [1, 0]
    request_id = str(uuid.uuid4())
    admin.call("PrivacyService/EraseCustomer", {"name": of_earlier, "request_id": request_id})
    refusal = admin.refused("PrivacyService/EraseCustomer", {"name": name, "request_id": request_id})
    refusal.must_be(FAILED_PRECONDITION, "BODY_CONFLICT")
    assert admin.call("CustomerService/GetCustomer", {"name": pair[0]}).referrer == gone[1]
    questions.wait_for(admin, touch(admin))
    assert [questions.features(admin, each).referrals for each in (name, of_hidden)] == [1, 0]
    erasure = admin.call("PrivacyService/EraseCustomer", {"name": name})
    questions.wait_for(admin, erasure.facts_position)
    assert questions.features(admin, of_hidden).referrals == 1


def a_refused_row_that_names_who_is_erased_goes_too(admin, new):
    gone = ("shop", f"{new}-gone")
    questions.take_in(admin, row(gone))
    bad = [facts.customer(f"{new}-{place}", source="shop", referrer=by, display_name="x" * 5_000)
           for place, by in enumerate((gone[1], f"{new}-somebody"))]
    assert len(admin.call("IngestService/IngestBatch", facts.batch(*bad)).rejects) == 2
    admin.call("PrivacyService/EraseCustomer", {"name": questions.find(admin, gone[1])})
    kept = questions.everything(admin, "IngestService/ListRejects", "rejects")
    named = [admin.call("IngestService/GetReject", {"name": each.name}).customer.referrer for each in kept]
    assert f"{new}-somebody" in named and gone[1] not in named


def loyalty_is_made_of_referrals_too_and_is_explained_by_them(fresh):
    admin = fresh.client("admin")
    rows = [row(("shop", f"sent-{place}"), ("shop", "ann")) for place in range(3)]
    rows += [order(("shop", f"sent-{place}"), 5) for place in range(3)] + [order(("shop", "ann"), days) for days in (8, 40)]
    rows += [row(("shop", "sent-9"), ("shop", "eve")), order(("shop", "sent-9"), 5)]
    questions.wait_for(admin, questions.take_in(admin, *rows, facts.interaction("eve", "looks")).facts_position)
    made = score_models.create_preset(admin, "loyalty", "loyalty")
    assert [(each.name, each.feature, each.weight) for each in made.dimensions] == LOYALTY
    score_models.publish(admin, made.name, score_models.preview(admin, made.name).version.etag)
    bins, weights = [5] * len(LOYALTY), [weight for *_, weight in LOYALTY]
    for who, inputs, scores in (("ann", (2, 2, None, None, 3), (2, 3, 0, 0, 4)), ("sent-0", (1, 1, None, None, 0), (1, 2, 0, 0, 1))):
        explained = score_models.explain(admin, int(questions.find(admin, who).split("/")[1]), "scoreModels/loyalty")
        assert tuple(each.input if each.HasField("input") else None for each in explained.dimensions) == inputs
        assert tuple(each.score for each in explained.dimensions) == scores
        assert explained.grade.composite == score_witness.composite(scores, bins, weights)
    # Of who has sent somebody and not bought, nothing tells how loyal it is.
    nobody = score_models.explain(admin, int(questions.find(admin, "eve").split("/")[1]), "scoreModels/loyalty")
    assert not nobody.HasField("grade") and not any(each.HasField("input") for each in nobody.dimensions)
