"""Whose birthday a day is: listed by number, in whatever way it was said last, of those alone who are processed; in pages; and for those alone who
read dates of birth in clear."""
import random
from datetime import date

import pytest

from support import facts, going_on, ingest_stream, policies, questions, waiting
from support.playbook_days import BIRTHDAYS, birthdays
from support.playbook_kit import is_refused
from support.refusals import INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, Refusal

OTHER = "elsewhere"
KIND = {"kind": "CUSTOMER_KIND_CUSTOMER"}
CLEAR = {"form": "MASK_FORM_CLEAR"}


def person(*ids, birth=None, **fields):
    """The row of a customer who is known by these ids."""
    said = {"birth_date": facts.date_of(birth)} if birth else {}
    return {"customer": {"identities": [facts.identity(each) for each in ids]} | said | fields}


def create(client, customer, birth=None):
    return client.call("CustomerService/CreateCustomer", person(customer, birth=birth)).name


def update(client, name, birth=None, mask="birthDate", **fields):
    said = {"birth_date": facts.date_of(birth)} if birth else {}
    return client.call("CustomerService/UpdateCustomer", {"customer": {"name": name} | said | fields, "update_mask": mask})


def merge(client, one, other):
    return client.call("IdentityService/MergeCustomers", {"customer": one, "other": other})


def unmerge(client, merged):
    return client.call("IdentityService/UnmergeCustomers", {"name": merged.name})


def number_of(name):
    return int(name.split("/")[1])


# -- how it is said -------------------------------------------------------------------------------------------------------

def a_birthday_is_listed_in_whatever_way_it_was_said(admin, new):
    """Of any year, by number; and by whatever else is said nothing of it changes."""
    born = [date(year, 1, 7) for year in (1850, 1900, 1969, 1970, 1996)]
    names = [create(admin, f"{new}-0", born[0])]
    questions.take_in(admin, person(f"{new}-1", birth=born[1]), facts.order(f"{new}-2", "o"))
    with ingest_stream.connection(admin, new) as stream:
        answer = stream.send(0, [person(f"{new}-2", birth=born[2]), person(f"{new}-3", birth=date(1969, 1, 8)), person(f"{new}-4")])
        assert (answer.applied, list(answer.rejects)) == (3, [])
        assert stream.send(1, [person(f"{new}-3", birth=born[3])]).applied == 1
    update(admin, questions.find(admin, f"{new}-4"), born[4])
    names += [questions.find(admin, f"{new}-{n}") for n in range(1, 5)]
    assert birthdays(admin, 1, 7) == sorted(names, key=number_of) and birthdays(admin, 1, 8) == birthdays(admin, 7, 1) == []
    again = admin.call("IngestService/IngestBatch", facts.batch(*(person(f"{new}-{n}", birth=born[n]) for n in range(5))))
    assert (again.applied, again.duplicates) == (0, 5)
    update(admin, names[0], mask="displayName", display_name="Ann")
    questions.take_in(admin, person(f"{new}-1", display_name="Bob"), person(f"{new}-2", birth=date(1971, 1, 7)))
    assert birthdays(admin, 1, 7) == sorted(names, key=number_of)


def a_birthday_moves_with_what_is_said_last_and_goes_with_it(admin, new):
    name = create(admin, new)
    days = [(2, 3), (2, 4), (2, 5)]
    listed = lambda: [birthdays(admin, *day) for day in days]  # noqa: E731
    assert listed() == [[], [], []]
    update(admin, name, date(1980, 2, 3))
    assert listed() == [[name], [], []]
    questions.take_in(admin, person(new, birth=date(1980, 2, 4)))
    assert listed() == [[], [name], []]
    # In one batch the last of them.
    questions.take_in(admin, person(new, birth=date(1980, 2, 3)), person(new, birth=date(1980, 2, 5)))
    assert listed() == [[], [], [name]]
    [reject] = admin.call("IngestService/IngestBatch", facts.batch(person(new, birth=date(2050, 2, 3)))).rejects
    assert reject.field == "customer.birth_date" and listed() == [[], [], [name]]
    stale = {"customer": {"name": name, "birth_date": facts.date_of(date(1980, 2, 3)), "etag": "old"}, "update_mask": "birthDate"}
    assert admin.refused("CustomerService/UpdateCustomer", stale).reason == "STALE_ETAG" and listed() == [[], [], [name]]
    update(admin, name)
    assert listed() == [[], [], []]


def the_day_that_most_years_do_not_have_is_a_day_by_itself(admin, new):
    """Who begins something for it in other years is who asks."""
    names = [create(admin, f"{new}-{n}", day) for n, day in enumerate((date(1997, 2, 28), date(1996, 2, 29), date(1996, 3, 1)))]
    assert [birthdays(admin, *day) for day in ((2, 28), (2, 29), (3, 1))] == [[name] for name in names]


# -- who is one customer, and who is none ---------------------------------------------------------------------------------

def of_merged_customers_one_is_listed_by_what_was_said_last(admin, new):
    """And each by its own day again, once they are parted."""
    for customer, birth in ((1, date(1980, 4, 1)), (2, date(1980, 4, 2)), (3, None), (4, date(1980, 4, 4))):
        questions.take_in(admin, person(f"{new}-{customer}", birth=birth))
    first, second, third, fourth = (questions.find(admin, f"{new}-{customer}") for customer in range(1, 5))
    listed = lambda: [birthdays(admin, 4, day) for day in (1, 2, 3, 4)]  # noqa: E731
    assert listed() == [[first], [second], [], [fourth]]
    merged = [merge(admin, first, second)]
    assert merged[0].customer == first and listed() == [[], [first], [], [fourth]]
    # Who says nothing of it contradicts nobody.
    merged.append(merge(admin, second, third))
    assert listed() == [[], [first], [], [fourth]]
    merged.append(merge(admin, third, fourth))
    assert listed() == [[], [], [], [first]]
    questions.take_in(admin, person(f"{new}-3", birth=date(1980, 4, 3)))
    assert listed() == [[], [], [first], []]
    unmerge(admin, merged[1])
    assert listed() == [[], [first], [third], []]
    for each in (merged[0], merged[2]):
        unmerge(admin, each)
    assert listed() == [[first], [second], [third], [fourth]]


def who_turns_out_to_be_somebody_known_is_listed_once(admin, new):
    """A row says that a device is a person: the lower number is that of the device."""
    device, crm = f"{new}-device", f"{new}-crm"
    questions.take_in(admin, facts.interaction(device, "visit"))
    questions.take_in(admin, person(crm, birth=date(1980, 5, 1)))
    assert birthdays(admin, 5, 1) == [questions.find(admin, crm)] != [questions.find(admin, device)]
    questions.take_in(admin, person(crm, device, birth=date(1980, 5, 2)))
    assert birthdays(admin, 5, 2) == [questions.find(admin, crm)] == [questions.find(admin, device)] and birthdays(admin, 5, 1) == []


def whoever_is_erased_is_listed_no_more_nor_are_those_it_was_merged_with(admin, new):
    names = [create(admin, f"{new}-{n}", date(1980, 6, 1 + n)) for n in range(3)]
    listed = lambda: [birthdays(admin, 6, 1 + n) for n in range(3)]  # noqa: E731
    merge(admin, names[0], names[1])
    assert listed() == [[], [names[0]], [names[2]]]
    questions.wait_for(admin, admin.call("PrivacyService/EraseCustomer", {"name": names[1]}).facts_position)
    assert listed() == [[], [], [names[2]]]
    # Whoever comes under the same identity is somebody else.
    questions.take_in(admin, person(f"{new}-0", birth=date(1980, 6, 3)))
    assert listed() == [[], [], [names[2], questions.find(admin, f"{new}-0")]] and questions.find(admin, f"{new}-0") not in names


def of_whoever_is_restricted_no_birthday_is_told(admin, new):
    """Until that is lifted: then by what was said meanwhile too."""
    one, other = (create(admin, f"{new}-{n}", date(1980, 8, 1)) for n in range(2))
    questions.wait_for(admin, admin.call("PrivacyService/RestrictProcessing", {"name": one}).facts_position)
    assert birthdays(admin, 8, 1) == [other]
    update(admin, one, date(1980, 8, 2))
    questions.take_in(admin, person(f"{new}-0", birth=date(1980, 8, 3)))
    assert [birthdays(admin, 8, day) for day in (1, 2, 3)] == [[other], [], []]
    questions.wait_for(admin, admin.call("PrivacyService/LiftRestriction", {"name": one}).facts_position)
    assert [birthdays(admin, 8, day) for day in (1, 2, 3)] == [[other], [], [one]]


def whatever_happens_to_customers_lists_say_what_each_says_of_itself(admin, new):
    """Merged, parted, changed and erased by chance: as `GetCustomer` tells each of them."""
    chance, days = random.Random(11), [date(1980, 9, day) for day in range(1, 5)]
    ids = [f"{new}-{n}" for n in range(9)]
    names, merges = {each: create(admin, each, chance.choice([None, *days])) for each in ids}, []

    def shown(name):
        """(name, date of birth) as a customer is shown by any of its names; None: it is gone."""
        try:
            customer = admin.call("CustomerService/GetCustomer", {"name": name})
        except Refusal as refusal:
            refusal.must_be(NOT_FOUND, "NOT_FOUND")
            return None
        born = customer.birth_date
        return customer.name, (born.month, born.day) if customer.HasField("birth_date") else None

    def happens():
        what = chance.choice(["update", "ingest", "ingest", "merge", "merge", "unmerge", "unmerge", "erase"])
        one, day = chance.choice(ids), chance.choice(days)
        if what == "ingest":
            admin.call("IngestService/IngestBatch", facts.batch(person(one, birth=day)))
            names[one] = questions.find(admin, one)
        elif what == "unmerge" and merges:
            parted = merges.pop(chance.randrange(len(merges)))
            try:
                unmerge(admin, parted)
            except Refusal as refusal:  # Of whoever is erased no merge is left.
                refusal.must_be(NOT_FOUND, "NOT_FOUND")
        elif shown(names[one]) is not None:
            others = [name for name in names.values() if shown(name) and shown(name)[0] != shown(names[one])[0]]
            if what == "update":
                update(admin, names[one], chance.choice([None, day]))
            elif what == "erase" and chance.random() < 0.3:
                admin.call("PrivacyService/EraseCustomer", {"name": names[one]})
            elif what == "merge" and others:
                merges.append(merge(admin, names[one], chance.choice(others)))
        return what

    counted = set()
    for _ in range(50):
        counted.add(happens())
        told = {each for name in names.values() if (each := shown(name))}
        for day in days:
            ought = sorted((name for name, born in told if born == (day.month, day.day)), key=number_of)
            assert birthdays(admin, day.month, day.day) == ought, (counted, day)
    assert counted == {"update", "ingest", "merge", "unmerge", "erase"}


def another_tenant_has_birthdays_of_its_own(shared, admin, new):
    admin.call("TenantService/CreateTenant", {"tenant_id": OTHER})
    other = shared.client("admin", OTHER)
    waiting.until(lambda: policies.is_known(other), "the tenant to be known", policies.FORCE_SECONDS)
    mine, theirs = ([create(client, f"{new}-{n}", date(1980, 10, 1)) for n in range(count)] for client, count in ((admin, 2), (other, 3)))
    assert (birthdays(admin, 10, 1), birthdays(other, 10, 1)) == (mine, theirs)


# -- pages ----------------------------------------------------------------------------------------------------------------

MANY = 2_050


@pytest.fixture(scope="module")
def crowd(shared):
    """Many who have one birthday, and some who have another: the names of both, by number."""
    admin = shared.client("admin")
    of_days = [[person(f"crowd-{day}-{n}", birth=date(1950 + n % 40, 11, day)) for n in range(count)] for day, count in ((1, MANY), (2, 3))]
    questions.take_in(admin, *(row for rows in of_days for row in rows))
    names = questions.names_of(admin)
    return [sorted((names[row["customer"]["identities"][0]["id"]] for row in rows), key=number_of) for rows in of_days]


@pytest.mark.parametrize("page_size", [0, 300, 999, 1_000, 100_000])
def pages_of_birthdays_come_to_all_of_them_by_number(admin, crowd, page_size):
    pages, page_token = [], ""
    while not pages or page_token:
        page = admin.call(BIRTHDAYS, {"month": 11, "day": 1, "page_size": page_size, "page_token": page_token})
        pages.append(list(page.customers))
        page_token = page.next_page_token
    assert sum(pages, []) == crowd[0] and max(map(len, pages)) <= min(page_size or 1_000, 1_000)


def who_comes_or_goes_between_pages_moves_nobody_else(admin, crowd, new):
    page = admin.call(BIRTHDAYS, {"month": 11, "day": 2, "page_size": 2})
    gone, late = page.customers[0], create(admin, new, date(1980, 11, 2))
    update(admin, gone, date(1980, 11, 3))
    try:
        rest = admin.call(BIRTHDAYS, {"month": 11, "day": 2, "page_token": page.next_page_token}).customers
        assert [*page.customers, *rest] == [*crowd[1], late]
        assert birthdays(admin, 11, 2) == [*crowd[1][1:], late]
    finally:
        update(admin, gone, date(1980, 11, 2))
        update(admin, late)


def a_page_token_of_birthdays_is_of_its_day_alone(admin, crowd):
    tokens = {day: admin.call(BIRTHDAYS, {"month": 11, "day": day, "page_size": 1}).next_page_token for day in (1, 2)}
    strange = admin.call("CustomerService/ListCustomers", {"page_size": 1}).next_page_token
    assert all(tokens.values()) and strange and crowd
    for day, wrong in ((1, tokens[2]), (2, tokens[1]), (3, tokens[1]), (1, strange), *((2, each) for each in going_on.tampered(tokens[2]))):
        refusal = admin.refused(BIRTHDAYS, {"month": 11, "day": day, "page_token": wrong}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")
        assert [each.field for each in refusal.bad_request.field_violations] == ["page_token"]
    admin.refused(BIRTHDAYS, {"month": 12, "day": 1, "page_token": tokens[1]}).must_be(INVALID_ARGUMENT, "INVALID_TOKEN")


# -- what makes no sense --------------------------------------------------------------------------------------------------

WRONG = [({"month": month, "day": 1}, "month") for month in (0, 13, -1, 2**31 - 1, -2**31)]
WRONG += [({"month": 1, "day": day}, "day") for day in (0, 32, -1, 2**31 - 1, -2**31)]
WRONG += [({"month": month, "day": day}, "day") for month, day in ((2, 30), (2, 31), (4, 31), (6, 31), (9, 31), (11, 31))]
WRONG += [({"month": 1}, "day"), ({"day": 1}, "month"), ({}, {"month", "day"})]
WRONG += [({"month": 1, "day": 1, "page_size": size}, "page_size") for size in (-1, -2**31)]


@pytest.mark.parametrize("wrong, fields", WRONG)
def a_day_that_is_none_is_refused_by_its_field(admin, wrong, fields):
    is_refused(admin, BIRTHDAYS, wrong, fields)


def every_day_of_a_leap_year_may_be_asked_for(admin):
    """Of most of them nobody is born."""
    for month, days in enumerate((31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), 1):
        for day in (1, days):
            admin.call(BIRTHDAYS, {"month": month, "day": day, "page_size": 1})


# -- who may ask ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("role", ["support", "sales", "marketer", "analyst", "data-engineer", "auditor"])
def other_roles_may_not_ask_whatever_they_ask(shared, role):
    for request in ({"month": 3, "day": 14}, {"month": 13}, {"month": 3, "day": 14, "page_token": "x"}):
        shared.client(role).refused(BIRTHDAYS, request).must_be(PERMISSION_DENIED, "METHOD_DENIED")


def services_are_told_what_administrators_are(shared, admin, new):
    name = create(admin, new, date(1980, 12, 1))
    assert birthdays(shared.client("service"), 12, 1) == birthdays(admin, 12, 1) == [name]


FORMS = {"year": {"form": "MASK_FORM_YEAR"}, "month": {"form": "MASK_FORM_MONTH"}, "hash": {"form": "MASK_FORM_HASH"},
         "redacted": {"form": "MASK_FORM_REDACTED"}, "absent": {"form": "MASK_FORM_ABSENT"}, "own": CLEAR | {"condition": "owner == caller.subject"},
         "purpose": CLEAR | {"purposes": ["PURPOSE_SUPPORT"]}}


def a_role_asks_that_reads_dates_of_birth_in_clear_and_of_those_whom_it_reaches(shared, admin, new):
    """One that may call it and sees dates in another form, or in clear of some alone, is refused: whether anybody is born then or not."""
    questions.take_in(admin, *(person(f"{new}-{region}", birth=date(1980, 12, 2), attributes=KIND | {"region": region})
                               for region in ("north", "south")))
    roles = [policies.role_like(admin, "admin", f"blurred-{key}", {"BIRTH_DATE": form}) for key, form in FORMS.items()]
    northern = policies.role_like(admin, "support", "northern", {"BIRTH_DATE": CLEAR}, without=policies.TAKING_IN,
                                   row_scope='region == "north"')
    northern["methods"].append(f"quintile.ingestion.v1.{BIRTHDAYS}")
    policies.publish(admin, *roles, northern, policies.role_like(admin, "admin", "twin"))
    for role in roles:
        client = policies.client_of(shared, role["role"])
        refused = [client.refused(BIRTHDAYS, {"month": 12, "day": day}).must_be(PERMISSION_DENIED, "FIELD_DENIED") for day in (2, 3)]
        assert refused[0].answer == refused[1].answer, role["role"]
    everybody = sorted((questions.find(admin, f"{new}-{region}") for region in ("north", "south")), key=number_of)
    assert birthdays(policies.client_of(shared, "twin"), 12, 2) == birthdays(admin, 12, 2) == everybody
    client = policies.client_of(shared, "northern")
    for size in (0, 1):
        assert birthdays(client, 12, 2, page_size=size) == [questions.find(admin, f"{new}-north")]
