"""Audiences for advertising and social platforms: of whom it is said by what these know it, by which hashes, to whom; and the file of them."""
import csv
import hashlib
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from support import facts, policies, questions, quintile, segments, waiting
from support.playbook_kit import is_refused
from support.reflection import authorization
from support.refusals import PERMISSION_DENIED

AUDIENCE, SET_CONSENT = "ExportService/ExportAudience", "PrivacyService/SetConsent"
ABSENT = "customers/4000000000"
OTHER = "elsewhere"
DENIED = ["support", "sales", "marketer", "analyst", "data-engineer", "auditor"]
COLUMNS = ["email_sha256", "phone_sha256", "phone_digits_sha256"]
MOST = 1_000
EXIT_FAILURE, EXIT_USAGE, EXIT_ABSENT, EXIT_DENIED = 1, 2, 3, 4


def person(*ids, **fields):
    """The row of a customer who is known by these ids."""
    return {"customer": {"identities": [facts.identity(each) for each in ids]} | fields}


def consent(client, name, state="GIVEN", purpose="THIRD_PARTY", **fields):
    client.call(SET_CONSENT, {"name": name, "purpose": f"PURPOSE_{purpose}", "state": f"CONSENT_STATE_{state}"} | fields)


def come(client, key, *words, **fields):
    """A new customer, which says these words to being passed on; that it may be where none is given."""
    name = client.call("CustomerService/CreateCustomer", person(key, **fields)).name
    for state in words or ["GIVEN"]:
        consent(client, name, state)
    return name


def update(client, name, mask, **fields):
    client.call("CustomerService/UpdateCustomer", {"customer": {"name": name} | fields, "update_mask": mask})


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def known_by(email=None, phone=None):
    """What platforms know somebody by who has this address and this number: by each column."""
    return email and digest(email), phone and digest(phone), phone and digest(phone.removeprefix("+"))


def hashes_of(member):
    return tuple(getattr(member, column) if member.HasField(column) else None for column in COLUMNS)


def told(client, *names, metadata=None):
    """[(customer, what platforms know it by)], in the order of the answer."""
    answer = client.call(AUDIENCE, {"customers": list(names)}, metadata)
    return [(member.customer, hashes_of(member)) for member in answer.members]


def phone_of(place):
    return f"+86138{place:08}"


# -- by what they are known -----------------------------------------------------------------------------------------------

SPELLINGS = [("Ann.Smith+News@Example.COM", "ann.smith+news@example.com", "+86 138 0013 8000", "+8613800138000"),
             ("zoë@BÜCHER.example", "zoë@bücher.example", "+33 6 31 96 65 43", "+33631966543"),
             ("ｂｏｂ＠example.com", "bob@example.com", "＋86-138-0013-8001", "+8613800138001"),
             ("o'neil=#%@x.example", "o'neil=#%@x.example", "+1 650 253 0000", "+16502530000")]


@pytest.mark.parametrize("email, kept_email, phone, kept_phone", SPELLINGS)
def hashes_are_of_the_address_in_lower_case_and_of_the_whole_number(admin, new, email, kept_email, phone, kept_phone):
    name = come(admin, new, email=email, phone=phone)
    customer = admin.call("CustomerService/GetCustomer", {"name": name})
    assert (customer.email, customer.phone) == (kept_email, kept_phone)
    assert told(admin, name) == [(name, known_by(kept_email, kept_phone))]


def hashes_are_those_that_everybody_computes(admin, new):
    """As `printf %s ann@example.com | sha256sum` tells them."""
    name = come(admin, new, email="Ann@example.com", phone="+8613800138000")
    [(_, hashes)] = told(admin, name)
    assert hashes == ("71d4f55f72fa128dfb468a1a3901507c804b74316488744d769d7f4b16696476",
                      "ec61f3c620a98bdead8c1f1f0ae747abd1b62a0c2dba4fd4bc22cf0d1d8653e5",
                      "bf08aacce7f9b2452863cf99373043c3333f0e3127f1f787c4abb46ab6cf2b83")


def of_what_somebody_has_not_nothing_is_said_and_of_whom_there_is_neither_nothing_at_all(admin, new):
    mail, phone = come(admin, f"{new}-1", email=f"{new}@example.com"), come(admin, f"{new}-2", phone=phone_of(1))
    neither = come(admin, f"{new}-3", display_name="Ann", address="1 Mill Lane", birth_date={"year": 1980, "month": 1, "day": 1})
    assert told(admin, neither) == []
    assert told(admin, mail, phone, neither) == [(mail, known_by(f"{new}@example.com")), (phone, known_by(phone=phone_of(1)))]


def of_two_who_have_one_address_it_is_said_of_each(admin, new):
    names = [come(admin, f"{new}-{n}", email=f"{new}@example.com") for n in range(2)]
    assert told(admin, *names) == [(name, known_by(f"{new}@example.com")) for name in names]


def what_is_said_later_is_what_a_customer_is_known_by(admin, new):
    name = come(admin, new)
    assert told(admin, name) == []
    update(admin, name, "email", email=f"{new}-1@example.com")
    assert told(admin, name) == [(name, known_by(f"{new}-1@example.com"))]
    questions.take_in(admin, person(new, email=f"{new}-2@example.com", phone=phone_of(2)), person(new, phone=phone_of(3)))
    assert told(admin, name) == [(name, known_by(f"{new}-2@example.com", phone_of(3)))]
    update(admin, name, "email")
    assert told(admin, name) == [(name, known_by(phone=phone_of(3)))]
    update(admin, name, "phone")
    assert told(admin, name) == []


# -- of whom it is said ---------------------------------------------------------------------------------------------------

WORDS = {"nothing": ([], False), "given": (["GIVEN"], True), "objected": (["OBJECTED"], False), "withdrawn": (["GIVEN", "WITHDRAWN"], False),
         "objected later": (["GIVEN", "OBJECTED"], False), "given again": (["GIVEN", "OBJECTED", "GIVEN"], True)}


@pytest.mark.parametrize("words", WORDS)
def it_is_said_of_those_alone_who_consent_to_being_passed_on(admin, new, words):
    said, is_there = WORDS[words]
    name = admin.call("CustomerService/CreateCustomer", person(new, email=f"{new}@example.com")).name
    # What is consented to besides is another matter.
    for purpose in ("MARKETING", "PROFILING", "ANALYTICS", "SUPPORT"):
        consent(admin, name, purpose=purpose)
    assert told(admin, name) == []
    for state in said:
        consent(admin, name, state)
    expected = [(name, known_by(f"{new}@example.com"))] if is_there else []
    assert told(admin, name) == expected
    # Nor does an objection to something else undo it.
    consent(admin, name, "OBJECTED", "MARKETING")
    assert told(admin, name) == expected


def a_word_that_is_noted_later_and_was_said_earlier_changes_nothing(admin, new):
    name = admin.call("CustomerService/CreateCustomer", person(new, email=f"{new}@example.com")).name
    consent(admin, name, "WITHDRAWN", event_time=facts.days_before(5))
    consent(admin, name, "GIVEN", event_time=facts.days_before(9))
    assert told(admin, name) == []
    consent(admin, name, "GIVEN", event_time=facts.days_before(2))
    consent(admin, name, "OBJECTED", event_time=facts.days_before(3))
    assert told(admin, name) == [(name, known_by(f"{new}@example.com"))]


def nobody_consents_by_a_row_that_says_so(admin, new):
    said = {"kind": "CUSTOMER_KIND_CUSTOMER", "consents": ["PURPOSE_THIRD_PARTY"]}
    questions.take_in(admin, person(new, email=f"{new}@example.com", attributes=said))
    assert told(admin, questions.find(admin, new)) == []


def of_merged_customers_it_is_said_of_the_one_that_they_are_now(admin, new):
    """By what was said last of each, its consent included; and of each by itself once they are parted."""
    first = come(admin, f"{new}-1", email=f"{new}-1@example.com", phone=phone_of(4))
    second = come(admin, f"{new}-2", email=f"{new}-2@example.com")
    apart = [(first, known_by(f"{new}-1@example.com", phone_of(4))), (second, known_by(f"{new}-2@example.com"))]
    assert told(admin, second, first) == apart
    merged = admin.call("IdentityService/MergeCustomers", {"customer": second, "other": first})
    whole = admin.call("CustomerService/GetCustomer", {"name": second})
    assert whole.name == first and whole.phone == phone_of(4)
    together = [(first, known_by(whole.email, phone_of(4)))]
    assert told(admin, first) == told(admin, second, first) == together and told(admin, second) == []
    questions.take_in(admin, person(f"{new}-2", phone=phone_of(5)))
    assert told(admin, first, second) == [(first, known_by(whole.email, phone_of(5)))]
    consent(admin, first, "WITHDRAWN")
    assert told(admin, first, second) == []
    consent(admin, first)
    admin.call("IdentityService/UnmergeCustomers", {"name": merged.name})
    assert told(admin, first, second) == [apart[0], (second, known_by(f"{new}-2@example.com", phone_of(5)))]


def an_objection_of_either_holds_for_both_while_they_are_one(admin, new):
    first = come(admin, f"{new}-1", email=f"{new}@example.com")
    second = come(admin, f"{new}-2", "OBJECTED", phone=phone_of(6))
    assert told(admin, first, second) == [(first, known_by(f"{new}@example.com"))]
    merged = admin.call("IdentityService/MergeCustomers", {"customer": first, "other": second})
    assert told(admin, first, second) == []
    admin.call("IdentityService/UnmergeCustomers", {"name": merged.name})
    assert told(admin, first, second) == [(first, known_by(f"{new}@example.com"))]


def of_whoever_is_erased_nothing_is_said_nor_of_those_it_was_merged_with(admin, new):
    names = [come(admin, f"{new}-{n}", email=f"{new}-{n}@example.com") for n in range(3)]
    admin.call("IdentityService/MergeCustomers", {"customer": names[0], "other": names[1]})
    admin.call("PrivacyService/EraseCustomer", {"name": names[1]})
    assert told(admin, *names) == [(names[2], known_by(f"{new}-2@example.com"))]
    # Whoever comes again has said nothing yet.
    questions.take_in(admin, person(f"{new}-0", email=f"{new}-0@example.com"))
    again = questions.find(admin, f"{new}-0")
    assert again not in names and told(admin, again, *names) == [(names[2], known_by(f"{new}-2@example.com"))]


def of_whoever_is_restricted_nothing_is_said_until_that_is_lifted(admin, new):
    one, other = (come(admin, f"{new}-{n}", email=f"{new}-{n}@example.com") for n in range(2))
    admin.call("PrivacyService/RestrictProcessing", {"name": one})
    assert told(admin, one, other) == [(other, known_by(f"{new}-1@example.com"))]
    update(admin, one, "phone", phone=phone_of(7))
    assert told(admin, one) == []
    admin.call("PrivacyService/LiftRestriction", {"name": one})
    assert told(admin, one, other) == [(one, known_by(f"{new}-0@example.com", phone_of(7))), (other, known_by(f"{new}-1@example.com"))]


def another_tenants_customers_are_not_these(shared, admin, new):
    """Numbers are counted by tenant."""
    admin.call("TenantService/CreateTenant", {"tenant_id": OTHER})
    other = shared.client("admin", OTHER)
    waiting.until(lambda: policies.is_known(other), "the tenant to be known", policies.FORCE_SECONDS)
    mine, theirs = (come(client, new, email=f"{new}-{of}@example.com") for client, of in ((admin, "here"), (other, "there")))
    for client, name, of in ((admin, mine, "here"), (other, theirs, "there")):
        assert (name, known_by(f"{new}-{of}@example.com")) in told(client, mine, theirs)
        assert known_by(f"{new}-{'there' if of == 'here' else 'here'}@example.com") not in [hashes for _, hashes in told(client, mine, theirs)]


# -- many at once ---------------------------------------------------------------------------------------------------------

MANY = 1_100  # More than may be asked about at once.


@pytest.fixture(scope="module")
def crowd(shared):
    """Many, most of whom consent, and most of whom have an address, a number or both; and segments of them."""
    admin = shared.client("admin")
    has = [{"email": f"crowd-{n}@example.com"} if n % 4 else {} for n in range(MANY)]
    for place in range(0, MANY, 3):
        has[place]["phone"] = phone_of(10_000 + place)
    attributes = {"kind": "CUSTOMER_KIND_CUSTOMER", "owner": "crowd"}
    sent = [person(f"crowd-{n}", attributes=attributes | {"region": "north" if n % 5 else "south"}, **has[n]) for n in range(MANY)]
    questions.take_in(admin, *sent)
    numbers = questions.names_of(admin)
    names = [numbers[f"crowd-{n}"] for n in range(MANY)]
    consenting = [n for n in range(MANY) if n % 11]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda place: consent(admin, names[place]), consenting))
    expected = {names[n]: known_by(**has[n]) for n in consenting if has[n]}
    for segment_id, rule in (("crowd", 'owner == "crowd"'), ("northern", 'owner == "crowd" && region == "north"'), ("nobody", "false")):
        segments.create(admin, segment_id, rule)
    clear = {kind: {"form": "MASK_FORM_CLEAR"} for kind in ("EMAIL", "PHONE")}
    northern = policies.role_like(admin, "support", "northern", clear, without=policies.TAKING_IN, row_scope='region == "north"')
    northern["methods"].append(f"quintile.ingestion.v1.{AUDIENCE}")
    policies.publish(admin, northern)
    questions.wait_for(admin, questions.take_in(admin, facts.customer("the last")).facts_position)
    assert len(segments.members(admin, "segments/crowd")) == MANY > len(expected) > MOST / 2
    return SimpleNamespace(suite=shared, admin=admin, names=names, expected=expected,
                           north={names[n] for n in range(MANY) if n % 5}, client=policies.client_of(shared, "northern"))


def expected_of(crowd, names):
    """What ought to be told of these, by number and each once."""
    return [(name, crowd.expected[name]) for name in segments.by_number(set(names)) if name in crowd.expected]


def as_many_as_may_be_are_asked_about_and_one_more_is_not(crowd):
    names = random.Random(3).sample(crowd.names, MOST)
    assert told(crowd.admin, *names) == expected_of(crowd, names) != []
    for more in (crowd.names[:MOST + 1], [*names, names[0]], [names[0]] * (MOST + 1), [*names, "x"]):
        is_refused(crowd.admin, AUDIENCE, {"customers": more}, "customers")


def whoever_is_named_twice_is_told_of_once_and_by_number(crowd):
    chance = random.Random(5)
    for _ in range(10):
        names = chance.choices(crowd.names[:40], k=30) + [ABSENT] * 2
        chance.shuffle(names)
        assert told(crowd.admin, *names) == expected_of(crowd, names)


# -- what makes no sense --------------------------------------------------------------------------------------------------

MALFORMED = ["", "customers", "customers/", "customers/x", "customers/0", "customers/01", "customers/+1", "customers/-1", "customers/-",
             "customers/1.0", "customers/1/features", "customers/1/", " customers/1", "customers/1 ", "Customers/1", "segments/1", "1",
             "customers/4294967296",
             f"customers/{'9' * 30}", "customers/１"]


@pytest.mark.parametrize("wrong", MALFORMED)
def a_name_that_is_none_is_refused_by_its_place(admin, new, wrong):
    name = come(admin, new, email=f"{new}@example.com")
    is_refused(admin, AUDIENCE, {"customers": [wrong]}, "customers[0]")
    is_refused(admin, AUDIENCE, {"customers": [name, ABSENT, wrong, name]}, "customers[2]")


def whoever_asks_about_nobody_is_refused(admin):
    is_refused(admin, AUDIENCE, {}, "customers")
    assert told(admin, ABSENT, "customers/4294967295") == []


# -- who may ask ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("role", DENIED)
def other_roles_may_not_ask_whatever_they_ask(shared, admin, new, role):
    name = come(admin, new, email=f"{new}@example.com")
    answers = {shared.client(role).refused(AUDIENCE, {"customers": names}).must_be(PERMISSION_DENIED, "METHOD_DENIED").answer
               for names in ([name], [ABSENT], [], ["x"], [name] * (MOST + 1))}
    assert len(answers) == 1


def services_are_told_what_administrators_are(shared, admin, new):
    name = come(admin, new, email=f"{new}@example.com", phone=phone_of(8))
    assert told(shared.client("service"), name) == told(admin, name) == [(name, known_by(f"{new}@example.com", phone_of(8)))]


def a_role_with_a_row_scope_is_told_of_those_whom_it_reaches_and_knows_of_no_others(crowd):
    asked = crowd.names[:500]
    assert told(crowd.client, *asked) == expected_of(crowd, crowd.north & set(asked)) != []
    assert told(crowd.admin, *asked) == expected_of(crowd, asked)
    out_of_reach = [name for name in asked if name not in crowd.north]
    assert set(out_of_reach) & crowd.expected.keys()
    nobody = crowd.client.call(AUDIENCE, {"customers": [ABSENT]}).SerializeToString()
    assert crowd.client.call(AUDIENCE, {"customers": out_of_reach}).SerializeToString() == nobody


def whoever_comes_into_reach_or_leaves_it_is_told_of_or_not(crowd, new):
    name = come(crowd.admin, new, email=f"{new}@example.com", attributes={"kind": "CUSTOMER_KIND_CUSTOMER", "region": "south"})
    assert told(crowd.client, name) == []
    update(crowd.admin, name, "attributes.region", attributes={"region": "north"})
    assert told(crowd.client, name) == [(name, known_by(f"{new}@example.com"))]
    update(crowd.admin, name, "attributes.region", attributes={"region": "south"})
    assert told(crowd.client, name) == []


CLEAR = {"form": "MASK_FORM_CLEAR"}
FORMS = {"redacted": {"form": "MASK_FORM_REDACTED"}, "absent": {"form": "MASK_FORM_ABSENT"}, "hash": {"form": "MASK_FORM_HASH"},
         "own": CLEAR | {"condition": "owner == caller.subject"}, "purpose": CLEAR | {"purposes": ["PURPOSE_MARKETING"]}}


def whoever_does_not_read_addresses_and_numbers_is_told_nothing(shared, admin, new):
    """Of a number that is seen in part, the hash would tell the rest: there are not that many numbers."""
    roles = [policies.role_like(admin, "admin", f"partly-{kind.lower()}", {kind: {"form": "MASK_FORM_PARTIAL"}}) for kind in ("EMAIL", "PHONE")]
    policies.publish(admin, *roles)
    name = come(admin, new, email=f"{new}@example.com")
    for role in roles:
        policies.client_of(shared, role["role"]).refused(AUDIENCE, {"customers": [name]}).must_be(PERMISSION_DENIED, "FIELD_DENIED")


def a_role_that_sees_other_systems_ids_in_another_form_sees_no_hash(shared, admin, new):
    """Where its form goes by the customer, it sees those of its own, and where it goes by what it asks for, those it asks for so."""
    roles = [policies.role_like(admin, "admin", f"veiled-{key}", {"PSEUDONYM": form}) for key, form in FORMS.items()]
    policies.publish(admin, *roles)
    kind = {"kind": "CUSTOMER_KIND_CUSTOMER"}
    mine = come(admin, f"{new}-mine", email=f"{new}-mine@example.com", phone=phone_of(9), attributes=kind | {"owner": "tess"})
    theirs = come(admin, f"{new}-theirs", email=f"{new}-theirs@example.com", phone=phone_of(10), attributes=kind | {"owner": "bob"})
    whole = dict(told(admin, mine, theirs))
    assert whole.keys() == {mine, theirs} and all(len(each) == 64 for hashes in whole.values() for each in hashes)
    for key in FORMS:
        client = policies.client_of(shared, f"veiled-{key}")
        seen = dict(told(client, mine, theirs))
        shown = {name for name in whole if seen.get(name) == whole[name]}
        assert shown == ({mine} if key == "own" else set())
        hidden = {each for name, hashes in whole.items() if name not in shown for each in hashes}
        assert not hidden & {each for hashes in seen.values() for each in hashes}, key
    stated = (*authorization(policies.token_of(shared, "veiled-purpose")), ("x-quintile-purpose", "marketing"))
    assert dict(told(admin, mine, theirs, metadata=stated)) == whole


def what_was_told_of_whom_to_whom_is_on_record_and_what_it_was_is_not(shared, admin, new):
    names = [come(admin, f"{new}-{n}", email=f"{new}-{n}@example.com", phone=phone_of(20 + n)) for n in range(2)]
    curious = shared.client("admin", subject=f"curious-{new[:8]}")
    seen = told(curious, *names)
    method = shared.api().method_on("ingestion", "AuditService/ListAuditEvents")
    for name in names:
        [event] = questions.everything(admin, method, "events", subject=f"curious-{new[:8]}", customer=name, kind="AUDIT_KIND_READ")
        classes = event.DESCRIPTOR.fields_by_name["classes"].enum_type.values_by_number
        assert {classes[number].name for number in event.classes} == {"SENSITIVITY_PSEUDONYM"}
        assert (event.method, event.role, event.outcome) == (f"quintile.ingestion.v1.{AUDIENCE}", "admin", "OK")
        assert sorted(event.customer_ids) == sorted(map(segments.number, names))
        assert not any(each in str(event) for _, hashes in seen for each in hashes)
    # Nor is it in the log, or at rest as it was told.
    hidden = [each for _, hashes in seen for each in hashes] + [f"{new}-0@example.com"]
    assert not any(each in shared.log.read_text(errors="replace") for each in hidden)
    for place, data in shared.at_rest():
        assert not any(each.encode() in data or bytes.fromhex(each) in data for each in hidden[:-1]), place


# -- the file -------------------------------------------------------------------------------------------------------------

def run(suite, parent, path, *arguments):
    command = suite.command("segments", "audience", parent, "--to", path, *arguments)
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=quintile.COMMAND_SECONDS)


def written(suite, parent, path, *arguments):
    """(the rows of a file that has to be made, what the command said)"""
    done = run(suite, parent, path, *arguments)
    assert done.returncode == 0, done.stderr
    assert list(path.parent.iterdir()) == [path] and path.stat().st_mode & 0o077 == 0
    with open(path, encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == COLUMNS
    return rows, done.stdout


def as_rows(hashes):
    return sorted([each or "" for each in one] for one in hashes)


def a_file_has_what_platforms_know_members_by_and_says_how_many_these_are(crowd, tmp_path):
    path = tmp_path / "audience.csv"
    rows, said = written(crowd.suite, "segments/crowd", path)
    assert sorted(rows) == as_rows(crowd.expected.values())
    assert said == f"{len(crowd.expected):,} of {MANY:,} members in {path}\n"
    # Nothing of it is a number of ours, nor what somebody is called here.
    assert {len(cell) for row in rows for cell in row} == {0, 64} and "customer" not in path.read_text(encoding="utf-8")


def a_file_is_of_those_whom_a_role_reaches(crowd, tmp_path):
    path = tmp_path / "audience.csv"
    rows, said = written(crowd.suite, "segments/crowd", path, "--as", "northern")
    assert sorted(rows) == as_rows(hashes for name, hashes in crowd.expected.items() if name in crowd.north)
    assert said == f"{len(rows):,} of {len(crowd.north):,} members in {path}\n"
    assert sorted(written(crowd.suite, "segments/northern", path)[0]) == sorted(rows)


def a_label_has_an_audience_as_a_segment_has(crowd, new, tmp_path):
    # Whoever came in other tests is under it or not.
    questions.wait_for(crowd.admin, questions.take_in(crowd.admin, facts.customer(new)).facts_position)
    label = questions.labels(crowd.admin)[questions.label(crowd.admin, crowd.names[1])]
    members, path = segments.members(crowd.admin, label), tmp_path / "audience.csv"
    expected = [each for start in range(0, len(members), MOST) for _, each in told(crowd.admin, *members[start:start + MOST])]
    rows, said = written(crowd.suite, label, path)
    assert sorted(rows) == as_rows(expected) and said == f"{len(rows):,} of {len(members):,} members in {path}\n"


def an_audience_of_nobody_is_a_file_with_columns_and_without_rows(crowd, tmp_path):
    path = tmp_path / "audience.csv"
    assert written(crowd.suite, "segments/nobody", path) == ([], f"0 of 0 members in {path}\n")
    assert path.read_text(encoding="utf-8") == ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize("parent, file, arguments, code", [
    ("segments/absent", "x.csv", (), EXIT_ABSENT), ("labelSets/rfm-11/labels/absent", "x.csv", (), EXIT_ABSENT),
    ("crowd", "x.csv", (), EXIT_USAGE), ("segments/Crowd", "x.csv", (), EXIT_USAGE), ("segments/crowd", "x.parquet", (), EXIT_FAILURE),
    ("segments/crowd", "csv", (), EXIT_FAILURE), ("segments/crowd", "no/folder.csv", (), EXIT_FAILURE),
    *(("segments/crowd", "x.csv", ("--as", role), EXIT_DENIED) for role in ("analyst", "data-engineer", "auditor"))])
def what_is_refused_leaves_no_file(crowd, tmp_path, parent, file, arguments, code):
    done = run(crowd.suite, parent, tmp_path / file, *arguments)
    assert (done.returncode, list(tmp_path.iterdir())) == (code, []) and done.stderr, done.stderr


def a_file_that_is_there_is_replaced_by_a_whole_one_alone(crowd, tmp_path):
    path = tmp_path / "audience.csv"
    path.write_text("before")
    for parent, arguments, code in (("segments/absent", (), EXIT_ABSENT), ("segments/crowd", ("--as", "analyst"), EXIT_DENIED)):
        assert run(crowd.suite, parent, path, *arguments).returncode == code
        assert list(tmp_path.iterdir()) == [path] and path.read_text() == "before"
    assert len(written(crowd.suite, "segments/crowd", path)[0]) == len(crowd.expected)


def whoever_consents_no_more_is_in_no_later_file(crowd, new, tmp_path):
    """A segment that names those who consent, and one that does not, come to the same file."""
    path, name = tmp_path / "audience.csv", next(iter(crowd.expected))
    before, _ = written(crowd.suite, "segments/crowd", path)
    consent(crowd.admin, name, "WITHDRAWN")
    try:
        after, _ = written(crowd.suite, "segments/crowd", path)
    finally:
        consent(crowd.admin, name)
    assert sorted([*after, *as_rows([crowd.expected[name]])]) == sorted(before)
    willing = segments.create(crowd.admin, f"willing-{new[:8]}", 'owner == "crowd" && consent.third_party == "given"').name
    questions.wait_for(crowd.admin, questions.take_in(crowd.admin, facts.customer(new)).facts_position)
    assert sorted(written(crowd.suite, willing, path)[0]) == sorted(before)
