"""Shops whose customers leave for good, which the generator alone knows; who is at risk and who has left, told plainly from the orders; and what
tests ask of models of that again and again."""
import bisect
import contextlib
import random
from datetime import date, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import NamedTuple

import grpc
from google.rpc import error_details_pb2

import cdnow_witness as witness
from support import facts, policies, questions, quintile, score_models, stage_policies, waiting
from support.refusals import Refusal

MODELS, SERVICE, NAME = "ChurnModelService", "ChurnService", "churnTrainingSchedule"
TRAIN, GET, LIST, PUBLISH, RETIRE = (f"{MODELS}/{verb}ChurnModel{'s' * (verb == 'List')}" for verb in ("Train", "Get", "List", "Publish", "Retire"))
SCHEDULE, SAY = (f"{MODELS}/{verb}ChurnTrainingSchedule" for verb in ("Get", "Update"))
DRIFT, RISK, RISKS = f"{MODELS}/MeasureChurnDrift", f"{SERVICE}/GetChurnRisk", f"{SERVICE}/ListChurnRisks"
# What learns from everybody, or is done to everybody: no role with a row scope has it.
OF_EVERYBODY = (TRAIN, PUBLISH, RETIRE, DRIFT, SAY)
MONEY = {"revenue", "average_order_value", "revenue_365", "refunded_share"}
TEXTS = {"primary_channel", "top_category"}
FEATURES = MONEY | TEXTS | {
    "days_since_last_order", "days_since_first_order", "orders", "purchase_days", "orders_30", "orders_90", "previous_orders_90", "orders_365",
    "interactions_90", "previous_interactions_90", "days_since_last_interaction", "gap_mean_days", "gap_p50_days", "gap_p80_days", "silence_ratio",
    "refunds", "category_count", "complaints", "open_complaints", "csat_mean", "last_nps"}
HORIZON, WINDOW = 90, 365
DAY, HOUR, MINUTE, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
AS_OF = facts.AS_OF
OPENED, FORESEEN = AS_OF - 1_000 * DAY, AS_OF + 120 * DAY
ROWS_AT_ONCE = 10_000
WAYS, CHANNELS, CATEGORIES, OWNERS = ("ads", "friends", "search"), ("online", "store"), ("tea", "bread", "books"), ("ann", "bob", "")


# -- what happens ---------------------------------------------------------------------------------------------------------

class Buyer(NamedTuple):
    """A customer: its orders (instant, cents, channel, category), the instants of its contacts, its complaints (instant, case, whether it is opened)
    and its answers (instant, willingness to recommend), each the earliest first; who looks after it, and how it came."""

    orders: list
    contacts: list = ()
    complaints: list = ()
    answers: list = ()
    owner: str = ""
    way: str = ""


def spaced(chance, start, end, days, shape=2.0):
    """Instants at gaps of so many days on average, in whole minutes: the larger the shape, the more regular."""
    at = start
    while at < end:
        yield at
        at += (30 + round(chance.gammavariate(shape, days / shape) * 1_440)) * MINUTE


def life(chance, days):
    """The instants at which somebody comes and leaves, who stays for so many days on average."""
    came = OPENED + chance.randrange((FORESEEN - OPENED) // MINUTE) * MINUTE
    return came, came + (1 + round(chance.expovariate(1 / days) * 1_440)) * MINUTE


def ordered(chance, at, size=2_500):
    return at, 100 + round(size * chance.uniform(0.5, 1.5)), chance.choice(CHANNELS), chance.choice(CATEGORIES)


def buyer(chance):
    """Somebody with a rhythm of its own, whose contacts grow rare some time before it leaves, and who may complain then."""
    came, leaves = life(chance, 320)
    gap, size = min(max(chance.lognormvariate(3.2, 0.6), 5), 75), chance.lognormvariate(7.8, 0.5)
    last, warns = min(leaves, FORESEEN), leaves - chance.randrange(45, 110) * DAY
    orders = [ordered(chance, at, size) for at in spaced(chance, came, last, gap)]
    contacts = [at for at in spaced(chance, came + HOUR, last, chance.uniform(10, 25), 1) if at < warns or chance.random() < 0.1]
    complaints = [(at, f"open {at}", True) for at in spaced(chance, max(came, warns) + HOUR, last, 60, 1) if chance.random() < 0.6]
    settled = [at for at in spaced(chance, came + 2 * HOUR, min(warns, last), 500) if chance.random() < 0.5]
    complaints += [told for at in settled for told in ((at, f"settled {at}", True), (at + HOUR, f"settled {at}", False))]
    answers = [(at, chance.randrange(0, 7) if at >= warns else chance.randrange(4, 11)) for at in spaced(chance, came + 3 * HOUR, last, 300)]
    return Buyer(orders, contacts, sorted(complaints), answers, chance.choice(OWNERS), chance.choice(WAYS))


def candid(chance):
    """Somebody who buys without a rhythm, and says so when it leaves."""
    came, leaves = life(chance, 250)
    orders = [ordered(chance, at) for at in spaced(chance, came, min(leaves, FORESEEN), 30, 1)]
    return Buyer(orders, (), [(leaves, "the last", True)] if leaves < FORESEEN else (), (), chance.choice(OWNERS), chance.choice(WAYS))


def shop(seed=2, customers=500, kind=buyer):
    """{id: buyer}"""
    chance = random.Random(seed)
    return {f"c-{number}": kind(chance) for number in range(customers)}


def village():
    """A small shop of people who say when they leave."""
    return shop(4, 400, candid)


def on_the_edge(now=AS_OF, horizon=HORIZON, zone=timezone.utc):
    """{id: buyer} of those whose orders are at the midnights that periods begin and end with, and where the years before begin, or a second
    earlier."""
    people = {}
    for place, day in enumerate(days_of(now, horizon, zone)):
        at, year_ago = begin(day, zone), begin(day - WINDOW * DAY, zone)
        for name, orders in {"at": (at - 40 * DAY, at), "before": (at - 40 * DAY, at - SECOND), "new": (at,), "newest": (at - SECOND,),
                             "old": (year_ago,), "older": (year_ago - SECOND,)}.items():
            people[f"{name}-{place}"] = Buyer([(each, 1_000, "online", "tea") for each in orders if each <= now])
    return people


def rows_of(key, one):
    """[(instant, row)] of what somebody does."""
    text, told = facts.text_of, []
    for number, (at, cents, channel, category) in enumerate(one.orders):
        line = {"product": f"some {category}", "category": category, "quantity": 1, "amount": facts.dollars(cents)}
        told.append((at, facts.order(key, f"{key}-o{number}", order_time=text(at), cents=cents, channel=channel, lines=[line])))
        if number % 17 == 5:
            given = {"refund_time": text(at + HOUR), "cents": cents // 2, "order_event_id": f"{key}-o{number}"}
            told.append((at + HOUR, facts.refund(key, f"{key}-r{number}", **given)))
    told += [(at, facts.interaction(key, f"{key}-i{number}", interaction_time=text(at))) for number, at in enumerate(one.contacts)]
    for number, (at, case, opens) in enumerate(one.complaints):
        said = {"kind": "INTERACTION_KIND_COMPLAINT", "about": case, "case_state": f"CASE_STATE_{'OPENED' if opens else 'RESOLVED'}"}
        told.append((at, facts.interaction(key, f"{key}-c{number}", interaction_time=text(at), **said)))
    told += [(at, facts.feedback(key, f"{key}-f{number}", feedback_time=text(at), kind="FEEDBACK_KIND_NPS", score=score))
             for number, (at, score) in enumerate(one.answers)]
    return told


def rows(people, until=AS_OF, since=None):
    """What there is to tell of everybody from an instant on, and before another; from the beginning on with who they are."""
    found = []
    for key, one in people.items():
        told = [row for at, row in rows_of(key, one) if (since is None or at >= since) and at < until]
        said = {"kind": "CUSTOMER_KIND_CUSTOMER", "owner": one.owner, "acquisition_channel": one.way}
        found += ([facts.customer(key, attributes=said)] if told and since is None else []) + told
    return found


def take_in(client, told, instant=AS_OF):
    """Takes rows in, and waits for the end of the chain."""
    for start in range(0, len(told), ROWS_AT_ONCE):
        position = questions.take_in(client, *told[start:start + ROWS_AT_ONCE]).facts_position
    questions.wait_for(client, position, instant)


# -- the witness ----------------------------------------------------------------------------------------------------------

def begin(day, zone=timezone.utc):
    """The instant at which a local day begins: where its midnight is left out, with the hour behind it."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(timezone.utc)


def days_of(now, horizon=HORIZON, zone=timezone.utc):
    """The days that begin three, two and one horizon before today, and today."""
    today = now.astimezone(zone).date()
    return [today - before * horizon * DAY for before in (3, 2, 1, 0)]


def bought(people):
    """{id: the instants of its orders, the earliest first}"""
    return {key: sorted(order[0] for order in one.orders) for key, one in people.items()}


def last_before(instants, end):
    """The last of the instants before another; None: there is none."""
    place = bisect.bisect_left(instants, end)
    return instants[place - 1] if place else None


def customers_at(orders, instant, zone=timezone.utc):
    """{id: days since its last order} of those who had ordered in the 365 local days before an instant, or on its own."""
    today, found = instant.astimezone(zone).date(), {}
    for key, instants in orders.items():
        last = last_before(instants, instant)
        if last and (today - last.astimezone(zone).date()).days <= WINDOW:
            found[key] = (today - last.astimezone(zone).date()).days
    return found


class Period(NamedTuple):
    """The customers of a midnight: {id: days since the last order}, and those of them who did not order before the next."""

    day: date
    silent: dict
    left: frozenset

    @property
    def plain(self):
        return self.day, len(self.silent), len(self.left)

    @property
    def labels(self):
        return [key in self.left for key in self.silent]


def periods(orders, now, horizon=HORIZON, zone=timezone.utc):
    """The three periods that a model trained now learns from and is judged by."""
    days, found = days_of(now, horizon, zone), []
    for day, following in zip(days, days[1:]):
        start, end = begin(day, zone), begin(following, zone)
        silent = customers_at(orders, start, zone)
        found.append(Period(day, silent, frozenset(key for key in silent if not returns(orders[key], start, end))))
    return found


def returns(instants, start, end):
    """Whether there is an order from an instant on, and before another."""
    return bisect.bisect_left(instants, start) < bisect.bisect_left(instants, end)


def rhythm(instants, end, zone=timezone.utc):
    """The silence that somebody's rhythm explains by its orders before an instant, as stages have it."""
    days = sorted({at.astimezone(zone).date() for at in instants if at < end})
    return float(witness.shrunk_p80([(later - earlier).days for earlier, later in zip(days, days[1:])], witness.POPULATION_P80))


def numbers(one, now):
    """{feature: number} of a customer at an instant of UTC; None: there is none. Some are left out."""
    ordered, contacts = ([at for at in instants if at < now] for instants in (
        [order[0] for order in one.orders], sorted([*one.contacts, *(at for at, _, _ in one.complaints)])))
    days = sorted({at.date() for at in ordered})
    gap = (days[-1] - days[0]).days / (len(days) - 1) if len(days) > 1 else None
    silent, open_cases = (now.date() - days[-1]).days, sum(1 if opens else -1 for at, _, opens in one.complaints if at < now)
    answers = [score for at, score in one.answers if at < now]

    def within(instants, start, end=0):
        return sum(now - start * DAY <= at < now - end * DAY for at in instants)
    return {"days_since_last_order": silent, "days_since_first_order": (now.date() - days[0]).days, "orders": len(ordered),
            "purchase_days": len(days), "orders_30": within(ordered, 30), "orders_90": within(ordered, 90),
            "previous_orders_90": within(ordered, 180, 90), "orders_365": within(ordered, 365),
            "interactions_90": within(contacts, 90), "previous_interactions_90": within(contacts, 180, 90),
            "days_since_last_interaction": (now.date() - contacts[-1].date()).days if contacts else None, "gap_mean_days": gap,
            "silence_ratio": gap and silent / gap, "open_complaints": open_cases, "last_nps": answers[-1] if answers else None}


def area(scores, labels):
    """How often one who left had the higher score than one who stayed, a tie counting half."""
    left, stayed = (sorted(score for score, label in zip(scores, labels, strict=True) if label is of) for of in (True, False))
    wins = sum(bisect.bisect_left(stayed, score) + bisect.bisect_right(stayed, score) for score in left)
    return wins / (2 * len(left) * len(stayed))


# -- models and risks -----------------------------------------------------------------------------------------------------

def streamed(client, method, field, **request):
    """The last answer's field of a stream that tells progress before."""
    call = client.start(method, [request], seconds=waiting.SECONDS)
    try:
        answers = list(call)
    except grpc.RpcError as error:
        raise Refusal(error) from None
    *before, last = answers
    assert all(answer.HasField("progress") and not answer.HasField(field) for answer in before) and last.HasField(field)
    read = [answer.progress.customers_read for answer in before]
    assert read == sorted(read)
    return getattr(last, field)


def begin_training(client, **request):
    """The operation of a training."""
    return client.call(TRAIN, request)


def trained(client, operation):
    """The draft of a training that ends well."""
    ended = stage_policies.done(client, operation)
    assert not ended.HasField("error"), ended
    told = score_models.unpacked(client, ended.response)
    assert told.DESCRIPTOR.full_name == "quintile.lifecycle.v1.ChurnTraining" and progress(client, ended) == 100
    model = get(client, told.model)
    assert model.better == told.better
    return model


def train(client, **request):
    """A draft, when it is there."""
    return trained(client, begin_training(client, **request))


class Failure(NamedTuple):
    """How a training ended that could not be done."""

    code: grpc.StatusCode
    reason: str
    message: str

    def must_be(self, code, reason):
        assert (self.code, self.reason) == (code, reason) and self.message, self
        return self


def failure(client, operation):
    """How a training ends of which no model comes."""
    ended = stage_policies.done(client, operation)
    assert ended.HasField("error"), ended
    code = next(each for each in grpc.StatusCode if each.value[0] == ended.error.code)
    infos = [each.value for each in ended.error.details if each.type_url.endswith("/google.rpc.ErrorInfo")]
    told = [error_details_pb2.ErrorInfo.FromString(each) for each in infos]
    assert all(each.domain == "quintile" for each in told)
    return Failure(code, told[0].reason if told else "", ended.error.message)


def train_failed(client, **request):
    """How a training fails that was asked for."""
    return failure(client, begin_training(client, **request))


def progress(client, operation):
    """How much of a training is done, in whole percent."""
    return stage_policies.metadata(client, operation).progress_percent


def is_cancelled(client, operation):
    """Whether a training ends as cancelled."""
    ended = stage_policies.done(client, operation)
    return ended.HasField("error") and ended.error.code == grpc.StatusCode.CANCELLED.value[0]


def schedule(client):
    """When models are trained anew, and what came of it."""
    return client.call(SCHEDULE, {"name": NAME})


def say(client, every_days, **fields):
    """Says when models are trained anew."""
    return client.call(SAY, {"schedule": {"name": NAME, "every_days": every_days} | fields})


def measure(client):
    """How risks have moved; progress is told before."""
    return streamed(client, DRIFT, "drift")


def get(client, name):
    return client.call(GET, {"name": name})


def publish(client, model, **request):
    return client.call(PUBLISH, {"name": model.name, "etag": model.etag} | request)


def retire(client, model, **request):
    return client.call(RETIRE, {"name": model.name, "etag": model.etag} | request)


def models(client, **request):
    """All models, the newest first."""
    return questions.everything(client, LIST, "models", **request)


def state(model):
    return score_models.enum_name(model, "state")


def states(client):
    """{name: state} of all models."""
    return {model.name: state(model) for model in models(client)}


def plain(period):
    """A period as the witness has it."""
    return date(period.date.year, period.date.month, period.date.day), period.customers, period.left


def told_periods(model):
    return [plain(period) for period in (model.fit, model.calibration, model.holdout)]


def risk(client, name):
    """Of a customer by its name."""
    return client.call(RISK, {"name": f"{name}/churnRisk"})


def risks(client, **request):
    """{customer: risk} of all pages."""
    found = questions.everything(client, RISKS, "risks", **request)
    assert len({each.name for each in found}) == len(found)
    return {each.name.removesuffix("/churnRisk"): each for each in found}


def figures(model):
    """What a training amounts to, without what tells one from another."""
    copy = type(model)()
    copy.CopyFrom(model)
    for field in ("name", "etag", "create_time", "publish_time", "state", "drifts", "drift_alarm_time"):
        copy.ClearField(field)
    return copy


def settled(suite, people, told=None, tenant=None):
    """What everybody did, or what is given of it, as a suite has taken it in, into a new tenant where one is named; and the names of customers."""
    if tenant:
        suite.client("admin").call("TenantService/CreateTenant", {"tenant_id": tenant})
    admin = suite.client("admin", tenant)
    waiting.until(lambda: policies.is_known(admin), "the tenant to be known", policies.FORCE_SECONDS)
    told = rows(people) if told is None else told
    if told:
        take_in(admin, told)
    names = questions.names_of(admin, facts.SOURCE)
    return SimpleNamespace(suite=suite, admin=admin, people=people, orders=bought(people), names=names)


@contextlib.contextmanager
def company(backend, people, told=None, **suite):
    """The same in a suite of its own."""
    with quintile.suite(backend, **suite) as running:
        yield settled(running, people, told)
