"""What a fit of leads ought to find: leads followed day by day from what they did, without a line of the product's.

A lead is a `Lead`; days are local calendar days. The chance to buy on a day of some age is that of all leads, `c`; one of a group of ratio `k`
does not buy on it with `(1 - c) ** k`.
"""
import math
from dataclasses import dataclass, field
from datetime import date, timedelta

BANDS = [(1, 7), (8, 30), (31, 90), (91, 365), (366, 0)]
PRIOR_CONVERSIONS, PRIOR_CUSTOMERS = 5, 20
MIN_CUSTOMERS = 5
MONTH_DAYS = 365.25 / 12
DAY = timedelta(days=1)


@dataclass
class Lead:
    """Who came by a way on a day; `bought` are its purchase days. `came` may be None: nobody knows."""

    channel: str
    campaign: str
    came: date | None
    bought: list = field(default_factory=list)

    def first(self, end):
        """The day of the first purchase by a day; None: it has not bought."""
        return min((day for day in self.bought if day <= end), default=None)

    def is_lead(self):
        """Whether it came and did not buy by the end of that day."""
        return self.came is not None and not any(day <= self.came for day in self.bought)


@dataclass
class Group:
    """What is told of a group."""

    leads: int
    conversions: int
    ratio: float
    value: float | None = None


def band_of(age):
    return next(place for place, (first, last) in enumerate(BANDS) if first <= age and (not last or age <= last))


def ages(lead, end):
    """The ages at which it was a lead, with whether it bought at each."""
    bought, day = lead.first(end), lead.came + DAY
    while day <= end:
        yield (day - lead.came).days, day == bought
        if day == bought:
            return
        day += DAY


class Fit:
    """A fit to leads by the end of a day. `values`: {key: what each of those who have bought is worth}."""

    def __init__(self, leads, end, values=None):
        self.leads = {key: lead for key, lead in leads.items() if lead.is_lead() and lead.came <= end}
        self.end, self.values = end, values or {}
        self.days, self.conversions = [0] * len(BANDS), [0] * len(BANDS)
        for lead in self.leads.values():
            for age, buys in ages(lead, end):
                self.days[band_of(age)] += 1
                self.conversions[band_of(age)] += buys
        self.all = self.group(self.leads)
        channels = {lead.channel for lead in self.leads.values() if lead.channel}
        self.channels = {channel: self.group(self.of(channel), self.all) for channel in channels}
        ways = {(lead.channel, lead.campaign) for lead in self.leads.values() if lead.campaign}
        self.campaigns = {way: self.group(self.of(*way), self.channels.get(way[0], self.all)) for way in ways}

    def of(self, channel, campaign=None):
        return {key: lead for key, lead in self.leads.items() if lead.channel == channel and campaign in (None, lead.campaign)}

    def no_purchase(self, age, ratio=1.0):
        """The logarithm of the chance that nobody buys on a day."""
        place = band_of(age)
        return ratio * math.log1p(-self.conversions[place] / self.days[place]) if self.days[place] else 0.0

    def group(self, leads, larger=None):
        conversions = [key for key, lead in leads.items() if lead.first(self.end)]
        worth = [self.values[key] for key in conversions if key in self.values]
        if larger is None:
            return Group(len(leads), len(conversions), 1.0, sum(worth) / len(worth) if len(worth) >= MIN_CUSTOMERS else None)
        expected = -math.fsum(self.no_purchase(age) for lead in leads.values() for age, _ in ages(lead, self.end))
        ratio = larger.ratio * (len(conversions) + PRIOR_CONVERSIONS) / (larger.ratio * expected + PRIOR_CONVERSIONS)
        value = larger.value
        if value is not None and len(worth) >= MIN_CUSTOMERS:
            value = (sum(worth) + PRIOR_CUSTOMERS * value) / (len(worth) + PRIOR_CUSTOMERS)
        return Group(len(leads), len(conversions), ratio, value)

    def group_of(self, lead):
        """The smallest group that a lead belongs to, with its channel and campaign."""
        way = lead.channel, lead.campaign
        if way in self.campaigns:
            return self.campaigns[way], *way
        return (self.channels[lead.channel], lead.channel, "") if lead.channel in self.channels else (self.all, "", "")

    def probability(self, lead, age, days):
        """That it buys within so many days after an age."""
        ratio = self.group_of(lead)[0].ratio
        return -math.expm1(math.fsum(self.no_purchase(age + after, ratio) for after in range(1, days + 1)))


def foretold(leads, end, days):
    """(leads, expected conversions, conversions, Brier score, the same of giving all of them the mean) of a holdout."""
    before = end - days * DAY
    fit = Fit(leads, before)
    if not any(fit.conversions):
        return None
    judged = [(fit.probability(lead, (before - lead.came).days, days), bool(lead.first(end)))
              for lead in fit.leads.values() if not lead.first(before)]
    if not judged:
        return None
    expected, conversions = math.fsum(chance for chance, _ in judged), sum(bought for _, bought in judged)
    brier = math.fsum((chance - bought) ** 2 for chance, bought in judged) / len(judged)
    alike = math.fsum((expected / len(judged) - bought) ** 2 for _, bought in judged) / len(judged)
    return len(judged), expected, conversions, brier, alike
