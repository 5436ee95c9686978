"""No RPC shows a role what it may not see.

Every RPC that reflection finds on the five ports is called, by every role, on a tenant with planted canaries. An RPC
without a case fails; so does a case without an RPC, an answer that says nothing, and a policy that says otherwise.
"""
import pytest

from support import canaries, facts, field_forms, quintile
from support.field_forms import ROLES
from support.refusals import INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, Refusal
from support.rpc_cases import CASES, is_empty
from support.world import populate


@pytest.fixture(scope="module")
def world(shared):
    return populate(shared)


def every_rpc_of_every_service_has_a_case_and_every_case_an_rpc(world):
    api = world.suite.api()
    assert all(api.services[port] for port in quintile.PORTS), api.services
    assert set(api.methods) == set(CASES)


def the_policy_says_of_every_role_what_the_cases_say(world):
    policy = world.client("admin").call("PolicyService/GetPolicy")
    said = {role.role: set(role.methods) for role in policy.roles}
    public = {path for path, case in CASES.items() if case.public}
    assert {role: methods - public for role, methods in said.items()} == {
        role: {path for path, case in CASES.items() if role in case.roles} - public for role in ROLES}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", sorted(CASES))
def an_rpc_answers_those_who_may_and_shows_them_no_more_than_they_may_see(world, path, role):
    client, hidden, case = world.client(role), canaries.HIDDEN_FROM[role], CASES[path]
    try:
        answers = case.call(world, client, path)
    except Refusal as refusal:
        assert canaries.found_in_refusal(refusal, canaries.FROM_OUTPUT) == []
        assert role not in case.roles, refusal
        refusal.must_be(PERMISSION_DENIED, "METHOD_DENIED")
        return
    assert role in case.roles, f"{role} may not call {path}, and was answered"
    for message, metadata in answers:
        assert canaries.found_in_message(message, hidden) == []
        assert canaries.found_in_metadata(metadata, hidden) == []
    assert not any(is_empty(message) for message, _ in answers), answers


def an_administrator_sees_the_canaries_so_that_the_search_is_known_to_find_them(world):
    admin = world.client("admin")
    answers = (admin.call("CustomerService/GetCustomer", {"name": world.customer}),
               admin.call("FactService/ListCustomerFacts", {"parent": world.customer}),
               admin.call("ExportService/ExportAudience", {"customers": [world.customer]}))
    found = {each for answer in answers for each in canaries.found_in_message(answer, canaries.FROM_ANALYSTS)}
    assert set(canaries.FROM_ANALYSTS.texts) - {canaries.CONSENT_SOURCE} <= found, found
    assert any("a date" in each for each in found)
    assert set(canaries.FROM_ANALYSTS.digits) <= found


def every_classified_field_of_every_answer_has_a_row_and_every_row_a_field(world):
    methods = world.suite.api().methods.values()
    found = {name for method in methods for name in field_forms.classified_fields(method.response.DESCRIPTOR)}
    assert found == set(field_forms.FIELDS)


@pytest.fixture(scope="module")
def clear(world):
    """{method: {path: (field, value)}}: what an administrator is told of the canary, and so everything."""
    return {path: told(world, "admin", path) for path, method in world.suite.api().methods.items()
            if "admin" in CASES[path].roles and field_forms.classified_fields(method.response.DESCRIPTOR)}


def told(world, role, path):
    """The classified fields of what a role is told of the canary, and of the lead beside it, by an RPC."""
    seen = {}
    for message, _ in CASES[path].call(world, world.client(role), path):
        for customer in (world.customer, world.lead):
            of_customer = field_forms.seen_of(message, customer)
            seen |= {f"{customer}: {place}": told for place, told in of_customer.items()}
    return seen


def an_administrator_is_told_a_value_of_every_classified_field(clear):
    filled = {field for seen in clear.values() for field, value in seen.values() if value is not None}
    assert filled == set(field_forms.FIELDS)


@pytest.mark.parametrize("role", ROLES[1:])
def every_field_of_every_answer_is_in_the_form_of_the_table(world, clear, role):
    wrong, asked = [], 0
    for path, whole in clear.items():
        if role not in CASES[path].roles:
            continue
        seen = told(world, role, path)
        asked += 1
        for place, (field, value) in whole.items():
            form = field_forms.FIELDS[field][role]
            # A part of an answer that is not there at all shows nothing of its fields either.
            _, shown = seen.get(place, (field, None))
            if value is not None and not field_forms.is_in_form(form, field, value, shown):
                wrong.append((path, place, form, str(shown)))
    assert wrong == [] and (asked > 0) == (role != "auditor")


@pytest.mark.parametrize("role", ["admin", "service"])
def those_who_may_see_everything_get_the_profile_whole(world, role):
    profile = world.client(role).call("ProfileService/GetProfile", {"name": f"{world.customer}/profile"})
    customer = profile.customer
    assert (customer.display_name, customer.phone, customer.email, customer.address) == (
        canaries.NAME, canaries.PHONE, canaries.EMAIL, canaries.ADDRESS)
    assert (customer.birth_date.year, customer.birth_date.month, customer.birth_date.day) == (1987, 3, 14)
    assert list(profile.missing_parts) == []
    assert world.segment in profile.segments and world.label in profile.labels
    # Three, and one of long ago that is kept no longer.
    told = facts.expected([(10, 9_000), (20, 9_000), (30, 9_000), (1_000, 700)])
    assert (profile.features.orders, profile.scores.frequency) == (told["orders"], told["f"])


REFUSED = [
    ("CustomerService/LookupCustomer", {"phone": f"{canaries.PHONE}1"}, {INVALID_ARGUMENT, NOT_FOUND}),
    ("CustomerService/LookupCustomer", {"email": f"x.{canaries.EMAIL}"}, {NOT_FOUND}),
    ("CustomerService/LookupCustomer", {"email": canaries.EMAIL.replace("@", "(at)")}, {INVALID_ARGUMENT}),
    ("CustomerService/CreateCustomer", {"customer": canaries.CUSTOMER | {
        "identities": [facts.identity("bad-phone")], "phone": f"tel {canaries.NATIONAL_PHONE}"}}, {INVALID_ARGUMENT}),
    ("CustomerService/CreateCustomer", {"customer": canaries.CUSTOMER | {
        "identities": [facts.identity("bad-name")], "display_name": canaries.NAME + "\u202e"}}, {INVALID_ARGUMENT}),
    ("CustomerService/CreateCustomer", {"customer": canaries.CUSTOMER | {
        "identities": [facts.identity("bad-mail")], "email": f"{canaries.EMAIL_LOCAL}@"}}, {INVALID_ARGUMENT}),
    ("CustomerService/CreateCustomer", {"customer": canaries.CUSTOMER | {
        "identities": [facts.identity("long-address")], "address": canaries.ADDRESS * 60}}, {INVALID_ARGUMENT}),
]


@pytest.mark.parametrize("method,request_fields,codes", REFUSED, ids=[f"{n}" for n in range(len(REFUSED))])
def an_error_never_repeats_the_value_that_it_refuses(world, method, request_fields, codes):
    refusal = world.client("admin").refused(method, request_fields)
    refusal.must_be(codes, {"INVALID_FIELD", "NOT_FOUND"})
    assert canaries.found_in_refusal(refusal, canaries.FROM_OUTPUT) == []


def the_log_of_the_server_holds_no_canary_after_all_of_this(world):
    log = world.suite.log.read_text(errors="replace")
    assert canaries.found_in_json_log(log, canaries.FROM_OUTPUT) == []
