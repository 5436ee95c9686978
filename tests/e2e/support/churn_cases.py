"""Churn models of a populated tenant: what is planted for them, and calls that change which one is in force and leave one in force."""
from support import churn, facts, questions

HORIZON = 30
EACH = 40  # Customers of either kind about each midnight.


def rows():
    """Customers who are about as silent at each of the midnights that models learn from: who is not satisfied leaves, and others stay. Days are before the
    present, which is a day after `facts.AS_OF`."""
    def orders(key, days):
        return [facts.order(key, f"c-{day}", days=day - 1, cents=2_000 + 10 * day) for day in days]

    found = []
    for midnight in (3 * HORIZON, 2 * HORIZON, HORIZON):
        for n in range(EACH):
            ago = n % 20
            last = midnight + 3 + ago
            found += orders(f"leaves-{midnight}-{n}", [last + 80, last + 40, last])
            found += [facts.feedback(f"leaves-{midnight}-{n}", "c", days=midnight, score=1)]
            found += orders(f"stays-{midnight}-{n}", [last + 80, last + 40, last, *range(midnight - 5 - ago, 0, -25)])
    return found


def plant_customers(admin):
    questions.wait_for(admin, questions.take_in(admin, *rows()).facts_position)


def plant_models(admin):
    """Two models, the first in force: once everybody is there who buys. It is compared with none."""
    model = trained(admin)
    assert model.better, model
    churn.publish(admin, model)
    trained(admin)


def trained(admin):
    return churn.train(admin, horizon_days=HORIZON)


def in_force(admin):
    return next((model for model in churn.models(admin) if churn.state(model) == "PUBLISHED"), None)


def oldest(world):
    return {"name": churn.models(world.client("admin"))[-1].name}


def published(world, client, method):
    """The call that puts a model in force: the one that was until then."""
    admin = world.client("admin")
    model = churn.retire(admin, in_force(admin))
    try:
        return [client.exchange(method, {"name": model.name, "etag": model.etag})]
    finally:
        if in_force(admin) is None:
            churn.publish(admin, model)


def retired(world, client, method):
    """The call that takes a model out of force."""
    admin = world.client("admin")
    model = in_force(admin)
    try:
        return [client.exchange(method, {"name": model.name})]
    finally:
        if in_force(admin) is None:
            churn.publish(admin, churn.get(admin, model.name))


def training(world, client, method):
    """The call that begins a training, which has ended before another case begins one: few may wait."""
    answer = client.exchange(method, {"horizon_days": HORIZON})
    churn.trained(world.client("admin"), answer[0])
    return [answer]
