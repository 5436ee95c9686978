"""Customers with contracts, of whom an attribute tells who has left; and a witness that learns from attributes by itself: a regression of its own,
judged across folds."""
import math
import random
import zlib

from support import churn, facts, policies, questions, waiting

FOLDS = 5
LABEL, LEFT = "attributes/churn", "Yes"
CLASSES = {"churn": "NONE", "plan": "NONE", "visits": "NONE", "fee": "FINANCIAL", "age": "DEMOGRAPHIC", "spare": "NONE"}
FEATURES = ["attributes/plan", "attributes/visits", "attributes/fee", "attributes/age"]
OWNERS = ("ann", "bob", "")


def label(features=FEATURES, attribute=LABEL, left_value=LEFT):
    return {"attribute": attribute, "left_value": left_value, "features": features}


def train(client, **request):
    return churn.train(client, label=label(**request))


# -- who there is ---------------------------------------------------------------------------------------------------------

def members(seed=7, count=300):
    """{id: {attribute: value}} of a gym. Who pays by the month and comes seldom leaves; of every fifteenth nobody knows whether it has, and of some
    not what they are. What they come to is linear in log-odds, so that a regression is as good as can be."""
    chance, found = random.Random(seed), {}
    for number in range(count):
        plan, visits = chance.choice(["month", "quarter", "year"]), chance.randrange(0, 21)
        fee, age = round(chance.uniform(10, 60), 2), chance.choice(["18-29", "30-49", "50+"])
        log_odds = {"month": 1.5, "quarter": 0.0, "year": -1.5}[plan] - 0.25 * (visits - 10) + 0.04 * (fee - 35) + 0.5 * (age == "18-29")
        left = chance.random() < 1 / (1 + math.exp(-log_odds))
        said = {"plan": plan, "visits": str(visits), "fee": str(fee), "age": age, "churn": LEFT if left else "No"}
        if number % 15 == 0:
            said.pop("churn")
        if number % 11 == 3:
            said.pop("fee")
        found[f"member-{number}"] = said
    return found


def row(key, said, source=facts.SOURCE, **attributes):
    """A customer's row with its values."""
    custom = [{"key": attribute, "text": text} for attribute, text in said.items()]
    return facts.customer(key, source, custom_attributes=custom, **({"attributes": attributes} if attributes else {}))


def declare(client, classes=None):
    for attribute, sensitivity in (classes or CLASSES).items():
        client.call("AttributeService/CreateAttribute",
                    {"attribute_id": attribute, "attribute": {"sensitivity": f"SENSITIVITY_{sensitivity}"}})


def tenant(suite, name):
    """An administrator of a new tenant, which every service knows."""
    suite.client("admin").call("TenantService/CreateTenant", {"tenant_id": name})
    admin = suite.client("admin", name)
    waiting.until(lambda: policies.is_known(admin), "the tenant to be known", policies.FORCE_SECONDS)
    return admin


def settle(admin, people, classes=None):
    """Takes a gym in, as every service has heard of it: {id: `customers/{number}`}."""
    declare(admin, classes)
    rows = [row(key, said, owner=OWNERS[place % 3]) for place, (key, said) in enumerate(people.items())]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    return questions.names_of(admin, facts.SOURCE)


# -- the witness ----------------------------------------------------------------------------------------------------------

def number(text):
    try:
        return float(text)
    except ValueError:
        return None


def solved(matrix, right):
    """The solution of linear equations, by elimination with pivots."""
    size, lines = len(right), [[*line, value] for line, value in zip(matrix, right)]
    for place in range(size):
        best = max(range(place, size), key=lambda line: abs(lines[line][place]))
        lines[place], lines[best] = lines[best], lines[place]
        for line in lines[place + 1:]:
            factor = line[place] / lines[place][place]
            if factor:
                for column in range(place, size + 1):
                    line[column] -= factor * lines[place][column]
    found = [0.0] * size
    for place in reversed(range(size)):
        rest = sum(lines[place][column] * found[column] for column in range(place + 1, size))
        found[place] = (lines[place][size] - rest) / lines[place][place]
    return found


def sigmoid(value):
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def newton(rows, targets, penalty):
    """The coefficients, the intercept first, of the highest likelihood less half the penalty times the squares of all others."""
    width, found = len(rows[0]) + 1, None
    found = [0.0] * width
    for _ in range(50):
        gradient = [0.0] + [penalty * one for one in found[1:]]
        curvature = [[penalty if line == column and line else 0.0 for column in range(width)] for line in range(width)]
        for row_of, target in zip(rows, targets):
            terms = [(0, 1.0), *((place + 1, value) for place, value in enumerate(row_of) if value)]
            risk = sigmoid(sum(found[place] * value for place, value in terms))
            weight = risk * (1 - risk)
            for place, value in terms:
                gradient[place] += (risk - target) * value
                line = curvature[place]
                for other, of_other in terms:
                    line[other] += weight * value * of_other
        step = solved(curvature, gradient)
        found = [one - by for one, by in zip(found, step)]
        if max(map(abs, step)) < 1e-11:
            return found
    raise AssertionError("the witness did not come to rest")


class Terms:
    """What a regression learns of features: z-scores of numbers, 0 or 1 for each level but the first, and for what is missing."""

    def __init__(self, rows, are_numbers):
        self.learnt = []
        for place, is_number in enumerate(are_numbers):
            known = [each[place] for each in rows if each[place] is not None]
            if is_number:
                values = [float(text) for text in known]
                mean = sum(values) / len(values)
                deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
                self.learnt.append((True, mean, deviation, len(known) < len(rows), None))
            else:
                levels = sorted(set(known))
                shares = [known.count(level) / len(known) for level in levels]
                self.learnt.append((False, None, None, len(known) < len(rows), list(zip(levels, shares))))

    def of(self, values):
        terms = []
        for text, (is_number, mean, deviation, has_missing, levels) in zip(values, self.learnt):
            if is_number:
                terms.append((float(text) - mean) / deviation if text is not None and deviation else 0.0)
            else:
                knows = text in {level for level, _ in levels}
                terms += [float(text == level) if knows else share for level, share in levels[1:]]
            if has_missing:
                terms.append(float(text is None))
        return terms


def fitted(rows, labels, are_numbers):
    """What gives the log-odds of values, by a regression with lambda 1."""
    terms = Terms(rows, are_numbers)
    found = newton([terms.of(each) for each in rows], [float(label) for label in labels], 1.0)
    return lambda values: found[0] + sum(one * value for one, value in zip(found[1:], terms.of(values)))


def line(scores, labels):
    """What makes a risk of a score (Platt 1999)."""
    left = sum(labels)
    high, low = (left + 1) / (left + 2), 1 / (len(labels) - left + 2)
    intercept, slope = newton([[score] for score in scores], [high if label else low for label in labels], 0.0)
    assert slope > 0
    return lambda score: sigmoid(intercept + slope * score)


class Judged:
    """The regression of a label across folds: whoever has a value of it, by the id, with what each is foretold by the others."""

    def __init__(self, people, features=FEATURES, attribute=LABEL, left_value=LEFT):
        attribute, features = attribute.split("/")[1], [feature.split("/")[1] for feature in features]
        self.ids = [key for key, said in people.items() if attribute in said]
        self.rows = [[people[key].get(feature) for feature in features] for key in self.ids]
        self.labels = [people[key][attribute] == left_value for key in self.ids]
        self.are_numbers = [all(text is None or number(text) is not None for text in column) for column in zip(*self.rows)]
        self.folds = [zlib.crc32(key.encode()) % FOLDS for key in self.ids]
        self.scores, self.risks = [0.0] * len(self.ids), [0.0] * len(self.ids)
        for fold in range(FOLDS):
            of = fitted(*self.others(fold, self.rows), self.are_numbers)
            for place in self.held(fold):
                self.scores[place] = of(self.rows[place])
        for fold in range(FOLDS):
            of = line(*self.others(fold, self.scores))
            for place in self.held(fold):
                self.risks[place] = of(self.scores[place])

    def held(self, fold):
        return [place for place, of in enumerate(self.folds) if of == fold]

    def others(self, fold, values):
        places = [place for place, of in enumerate(self.folds) if of != fold]
        return [values[place] for place in places], [self.labels[place] for place in places]

    def area(self):
        return churn.area(self.scores, self.labels)

    def brier(self):
        return sum((risk - label) ** 2 for risk, label in zip(self.risks, self.labels)) / len(self.labels)

    def share(self):
        return sum(self.labels) / len(self.labels)

    def model(self):
        """The risk of values, by the regression of everybody and the line of all pooled scores."""
        of, risk = fitted(self.rows, self.labels, self.are_numbers), line(self.scores, self.labels)
        return lambda values: risk(of(values))
