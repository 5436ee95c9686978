"""The label sets that everybody knows, against the tables of domain.md written down again: cell by cell and customer by customer."""
import math
from fractions import Fraction
from types import SimpleNamespace

import pytest

from support import facts, label_sets, questions, score_models, score_witness, waiting
from support.label_sets import CELLS, name_of
from support.refusals import FAILED_PRECONDITION
from support.score_models import dimension, mapped

RFM_11 = """
Champions 555 554 544 545 454 455 445 · Loyal 543 444 435 355 354 345 344 335 · Potential Loyalist 553 551 552 541 542 533 532 531 452 451 442
441 431 453 433 432 423 353 352 351 342 341 333 323 · New 512 511 422 421 412 411 311 · Promising 525 524 523 522 521 515 514 513 425 424 413
414 415 315 314 313 · Need Attention 535 534 443 434 343 334 325 324 · About To Sleep 331 321 312 221 213 231 241 251 · At Risk 255 254 245 244
253 252 243 242 235 234 225 224 153 152 145 143 142 135 134 133 125 124 · Cannot Lose 155 154 144 214 215 115 114 113 · Hibernating 332 322 233
232 223 222 132 123 122 212 211 · Lost 111 112 121 131 141 151
"""
RFM_8 = ["vip", "cannot-lose", "at-risk", "loyal", "big-spender", "new", "promising", "lapsed"]
CN_8 = {"重要价值": "111", "重要发展": "101", "重要保持": "011", "重要挽留": "001", "一般价值": "110", "一般发展": "100", "一般保持": "010", "一般挽留": "000"}
STAGES = ["LEAD", "NEW", "ACTIVE", "LOYAL", "AT_RISK", "DORMANT", "CHURNED", "REACTIVATED"]
PRESETS = ["rfm-11", "rfm-8", "rfm-cn-8", "frequency-3", "value-3", "lifecycle", "channel"]
GRADE = [dimension("orders", "orders", cut_offs=[2, 3, 5], weight=2), dimension("spend", "revenue", "QUANTILE", ties="VALUE", bins=10, weight=3),
         dimension("days", "days_since(last_order_at)", better="LOWER", cut_offs=[30, 90, 180, 365], weight=1),
         mapped("place", "channel", {"store": 2, "online": 1}, 2, weight=1)]
NOBODY = "nobody's"  # What the witness calls the label of everybody else.


# -- the tables -----------------------------------------------------------------------------------------------------------

def rfm_11():
    """{cell: label} as the table has it, each cell once."""
    found = {}
    for entry in " ".join(RFM_11.split()).split(" · "):
        words = entry.split(" ")
        title = " ".join(word for word in words if not word.isdigit())
        for cell in filter(str.isdigit, words):
            assert cell not in found
            found[cell] = title
    assert set(found) == set(CELLS) and len(set(found.values())) == 11
    return found


def rfm_8(cell):
    """First match wins: VIP all ≥ 4; cannot-lose R = 1, F and M ≥ 4; at-risk R ≤ 2, F or M ≥ 4; and so on."""
    r, f, m = map(int, cell)
    if min(r, f, m) >= 4:
        return "vip"
    if r == 1 and min(f, m) >= 4:
        return "cannot-lose"
    if r <= 2 and max(f, m) >= 4:
        return "at-risk"
    if f >= 4:
        return "loyal"
    if m >= 4:
        return "big-spender"
    if r >= 4 and f <= 2:
        return "new"
    return "promising" if r >= 3 else "lapsed"


def means_of(cells):
    """The mean of each of the three scores of customers, exact."""
    cells = list(cells)
    return [Fraction(sum(int(cell[place]) for cell in cells), len(cells)) for place in range(3)]


def rfm_cn_8(cell, means):
    """By the bits of what is high: at or above the mean."""
    bits = "".join("1" if int(score) >= mean else "0" for score, mean in zip(cell, means))
    return next(title for title, each in CN_8.items() if each == bits)


def frequency_3(cell):
    return "F 1-2" if cell[1] in "12" else "F 3" if cell[1] == "3" else "F 4-5"


def value_3(band):
    return {"D": "D", "C": "C-B", "B": "C-B", "A": "A"}[band]


def by_cells(preset, means):
    """{cell: label} of a preset that is of cells."""
    of = {"rfm-11": rfm_11().get, "rfm-8": rfm_8, "rfm-cn-8": lambda cell: rfm_cn_8(cell, means), "frequency-3": frequency_3}[preset]
    return {cell: of(cell) for cell in CELLS}


# In the set's order, which domain.md says of all but the last two.
ORDERS = {"rfm-11": list(dict.fromkeys(rfm_11().values())), "rfm-8": RFM_8, "rfm-cn-8": list(CN_8), "frequency-3": ["F 1-2", "F 3", "F 4-5"],
          "value-3": ["D", "C-B", "A"]}


# -- the customers --------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def shop(shared):
    """Customers of CDNOW with grades, whom the tests of this file only read."""
    admin = shared.client("admin")
    people = label_sets.take_in(admin, 0, 900) | label_sets.take_in(admin, 20_000, 20_600, visitors=0)
    score_models.put_in_force(admin, "grade", *GRADE, grading={})
    graded = sum(told["orders"] > 0 for told in people.values())
    waiting.until(lambda: questions.preview(admin, "has(grade.band)").customers == graded, f"{graded} grades")
    means = means_of(filter(None, map(label_sets.cell_of, people.values())))
    assert all(1 < mean < 5 and mean.denominator > 1 for mean in means), means
    return SimpleNamespace(admin=admin, people=people, means=means, bands=bands_of(people))


def bands_of(people):
    """{number: band} by the witness; none of who has no grade."""
    bins, weights = ([of(each) for each in GRADE] for of in (score_witness.bins_of, lambda each: each["weight"]))
    composites = {number: score_witness.composite(each, bins, weights) for number, each in score_witness.scores(GRADE, people).items()}
    return {number: None if each is None else score_witness.grade(each)[1] for number, each in composites.items()}


def told_labels(shop, preset):
    """{number: label in the witness's words}"""
    if preset in ("lifecycle", "channel"):
        return {number: told["stage"] if preset == "lifecycle" else told["channel"] or NOBODY for number, told in shop.people.items()}
    if preset == "value-3":
        return {number: value_3(band) if band else NOBODY for number, band in shop.bands.items()}
    cells = by_cells(preset, shop.means)
    return {number: cells[label_sets.cell_of(told)] if told["orders"] else NOBODY for number, told in shop.people.items()}


def words_of(preset, made):
    """{label id: the witness's word for it}"""
    ids = label_sets.ids(made.labels)
    if preset in ORDERS:
        assert len(ids) == len(ORDERS[preset]) + 1, ids
        return dict(zip(ids, [*ORDERS[preset], NOBODY]))
    words = STAGES if preset == "lifecycle" else ["online", "store"]
    found = {label_sets.id_of(each.name): word for each in made.labels for word in words if f'"{word.lower() if preset == "lifecycle" else word}"' in
             each.expression}
    assert sorted(found.values()) == sorted(words) and list(found) == ids[:-1]
    return found | {ids[-1]: NOBODY}


@pytest.mark.parametrize("preset", PRESETS)
def every_customer_has_the_label_that_the_table_says(shop, preset):
    made = label_sets.create_preset(shop.admin, f"all-{preset}", preset)
    words, told = words_of(preset, made), told_labels(shop, preset)
    holding = label_sets.held(shop.admin, f"all-{preset}")
    assert {number: words[label_id] for number, label_id in holding.items()} == told
    assert len(set(told.values())) > 2, "the customers are of several"
    expected = label_sets.expected_distribution(shop.people, holding, label_sets.ids(made.labels))
    assert label_sets.distribution(shop.admin, f"all-{preset}") == expected
    assert sum(customers for customers, _ in expected.values()) == len(shop.people)
    for label_id in words:
        assert label_sets.checked(shop.admin, f"all-{preset}", label_id, shop.people) == {
            number for number, each in holding.items() if each == label_id}


@pytest.mark.parametrize("preset", ["rfm-11", "rfm-8", "rfm-cn-8", "frequency-3"])
def a_preset_of_scores_is_proved_over_all_cells_and_has_those_of_its_table(shop, preset):
    made = label_sets.create_preset(shop.admin, f"cells-{preset}", preset)
    words, table = words_of(preset, made), by_cells(preset, shop.means)
    assert (made.version, made.proved_cells) == (1, 125) and not made.HasField("draft")
    cells = {cell: words[label_sets.id_of(each.name)] for each in made.labels for cell in each.cells}
    assert cells == table and sum(len(each.cells) for each in made.labels) == 125
    assert not made.labels[-1].cells and made.labels[-1].expression == ""
    assert made.overlaps_allowed == (preset == "rfm-8"), "first match wins of rfm-8 alone"


@pytest.mark.parametrize("preset,cells", [("value-3", 4), ("lifecycle", 8), ("channel", 0)])
def a_preset_of_anything_else_is_proved_over_what_it_reads(shop, preset, cells):
    made = label_sets.create_preset(shop.admin, f"proved-{preset}", preset)
    assert made.proved_cells == cells and not any(each.cells for each in made.labels)


def the_names_are_those_that_are_published(shop):
    shipped = label_sets.get(shop.admin, "rfm-11")
    assert [each.title for each in shipped.labels[:-1]] == ORDERS["rfm-11"]
    assert {cell: each.title for each in shipped.labels for cell in each.cells} == rfm_11() and shipped.proved_cells == 125
    made = label_sets.create_preset(shop.admin, "mine", "rfm-11")
    assert [(label_sets.id_of(each.name), each.title, list(each.cells)) for each in made.labels] == [
        (label_sets.id_of(each.name), each.title, list(each.cells)) for each in shipped.labels]
    assert label_sets.ids(label_sets.create_preset(shop.admin, "eight", "rfm-8").labels)[:-1] == RFM_8
    chinese = label_sets.create_preset(shop.admin, "chinese", "rfm-cn-8")
    assert [each.title for each in chinese.labels[:-1]] == list(CN_8)


def resent(made):
    """The labels of a set as one sends them to change it: rules are enough."""
    return {"labels": [{"name": each.name, "title": each.title, "expression": each.expression} for each in made.labels],
            "overlaps_allowed": made.overlaps_allowed}


@pytest.mark.parametrize("preset", PRESETS)
def what_was_made_of_a_preset_is_the_tenants_own_and_can_be_changed(shop, preset):
    set_id = f"own-{preset}"
    drafted = label_sets.create_preset(shop.admin, set_id, preset, draft_only=True)
    assert drafted.version == 0 and not drafted.labels and len(drafted.draft.labels) > 2
    made = label_sets.publish(shop.admin, set_id, label_sets.preview(shop.admin, set_id).etag)
    # The same again moves nobody; the first two labels as one move those who have them.
    label_sets.update(shop.admin, set_id, "draft", draft=resent(made))
    assert label_sets.preview(shop.admin, set_id).moving_customers == 0
    first, second = made.labels[:2]
    either = resent(made)
    either["labels"][:2] = [{"name": f"{made.name}/labels/either", "title": "Either",
                             "expression": f"({first.expression}) || ({second.expression})"}]
    before = label_sets.distribution(shop.admin, set_id)
    label_sets.update(shop.admin, set_id, "draft", draft=either)
    seen = label_sets.preview(shop.admin, set_id)
    both = sum(before[label_sets.id_of(each.name)][0] for each in (first, second))
    assert seen.moving_customers == both
    label_sets.publish(shop.admin, set_id, seen.etag)
    assert label_sets.distribution(shop.admin, set_id)["either"][0] == both


def what_is_high_is_frozen_when_a_set_is_made_of_it(fresh):
    admin = fresh.client("admin")
    people = label_sets.take_in(admin, 0, 120)
    first = label_sets.create_preset(admin, "first", "rfm-cn-8")
    rich = {f"rich-{n}": [facts.order(f"rich-{n}", f"e{m}", days=1 + m, cents=30_000) for m in range(10)] for n in range(200)}
    questions.wait_for(admin, questions.take_in(admin, *(row for rows in rich.values() for row in rows)).facts_position)
    second = label_sets.create_preset(admin, "second", "rfm-cn-8")
    cells = list(filter(None, map(label_sets.cell_of, people.values())))
    for set_id, made, means in (("first", first, means_of(cells)), ("second", second, means_of([*cells, *["555"] * len(rich)]))):
        table = {cell: rfm_cn_8(cell, means) for cell in CELLS}
        for of in (made, label_sets.get(admin, set_id)):
            assert {cell: each.title for each in of.labels for cell in each.cells} == table
    assert [math.ceil(mean) for mean in means_of(cells)] != [math.ceil(mean) for mean in means_of([*cells, *["555"] * len(rich)])]


def the_mean_itself_is_high(fresh):
    """Of three customers with the scores 311, 522 and 533 the means are 13/3, 2 and 2."""
    admin = fresh.client("admin")
    orders = {"low": [1_000], "high": [5_000, 5_000, 5_000], "middle": [2_500, 2_500]}
    rows = [facts.order(customer, f"{customer}-{n}", 100 if customer == "low" else 9, cents=cents)
            for customer, each in orders.items() for n, cents in enumerate(each)]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    cells = {"low": "311", "high": "533", "middle": "522"}
    for customer, cell in cells.items():
        assert "".join(map(str, questions.scores(admin, questions.find(admin, customer)))) == cell
    label_sets.create_preset(admin, "chinese", "rfm-cn-8")
    titles = {label_sets.id_of(each.name): each.title for each in label_sets.get(admin, "chinese").labels}
    holding = {number: titles[each] for number, each in label_sets.held(admin, "chinese").items()}
    numbers = questions.numbers_of(admin)
    means = means_of(cells.values())
    assert means == [Fraction(13, 3), 2, 2]
    assert {customer: holding[numbers[customer]] for customer in cells} == {
        customer: rfm_cn_8(cell, means) for customer, cell in cells.items()} == {"low": "一般挽留", "high": "重要价值", "middle": "重要价值"}


def presets_that_are_made_of_customers_need_some(fresh):
    admin = fresh.client("admin")
    for preset in ("rfm-cn-8", "channel"):
        refusal = admin.refused("LabelService/CreateLabelSet", {"label_set_id": "none", "preset": preset})
        refusal.must_be(FAILED_PRECONDITION, "FAILED_PRECONDITION")
    for preset in sorted({*PRESETS} - {"rfm-cn-8", "channel"}):
        made = label_sets.create_preset(admin, preset if preset != "rfm-11" else "eleven", preset)
        told = label_sets.distribution(admin, label_sets.id_of(made.name))
        assert set(told.values()) == {(0, 0)} and list(told) == label_sets.ids(made.labels)


# Channels by how many customers have each: the most frequent are labels.
ODD = ["Online", "online", "in store", "门店", "微信", 'a "b" \\c', "100 %", "a_b", "'; DROP TABLE label; --", "// no comment", "café", "🛒", "-", "x" * 128]
PLAIN = [f"c{place}" for place in range(11)]
LONG = ["x" * 256, "x" * 255, "店" * 85, "short"]
NUMBERED = ["store 2", "store", "Store", "store-2", "store 3"]


@pytest.mark.parametrize("channels", [[*ODD, *PLAIN], LONG, NUMBERED, NUMBERED[::-1]],
                         ids=["odd", "long", "numbered", "numbered the other way"])
def the_most_frequent_channels_are_labels_whatever_they_are_called(fresh, channels):
    admin = fresh.client("admin")
    of = {f"{place}-{n}": channel for place, channel in enumerate(channels) for n in range(len(channels) - place)}
    rows = [facts.order(customer, "e", channel=channel) for customer, channel in of.items()]
    rows += [facts.order("long ago", "e", 400), facts.order("no channel", "e", channel="")]
    questions.wait_for(admin, questions.take_in(admin, *rows).facts_position)
    made = label_sets.create_preset(admin, "channels", "channel")
    assert len(made.labels) == min(20, len(channels)) + 1 and len(set(label_sets.ids(made.labels))) == len(made.labels)
    numbers, by_label = questions.numbers_of(admin), {}
    for number, label_id in label_sets.held(admin, "channels").items():
        by_label.setdefault(label_id, set()).add(number)
    expected = [{numbers[customer] for customer, channel in of.items() if channel == each} for each in channels]
    rest = by_label.pop(label_sets.id_of(made.labels[-1].name))
    assert rest == {numbers["long ago"], numbers["no channel"]}.union(*expected[20:])
    assert sorted(map(sorted, by_label.values())) == sorted(map(sorted, expected[:20]))
    # As any set's, its titles are short enough to be sent again.
    label_sets.update(admin, "channels", "draft", draft=resent(made))
    assert label_sets.preview(admin, "channels").moving_customers == 0
    assert label_sets.distribution(admin, "channels") and name_of("channels") == made.name
