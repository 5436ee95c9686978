"""The form in which every role sees every classified field of every answer, and how to tell it from the answer.

FIELDS is the table of security.md written down by hand, field by field: of a customer that consents to marketing and is the
caller's own, as the canary is. Whom a role does not reach is another matter: row_scopes.py.
"""
from google.protobuf.unknown_fields import UnknownFieldSet

from support import canaries

SENSITIVITY, NAMES_CUSTOMER = 50001, 50002  # The numbers of the options in quintile/type/v1/sensitivity.proto.
NOT_CLASSIFIED = 1  # SENSITIVITY_NONE

CLEAR, PART, YEAR, HIDDEN = "as it is", "in part", "the year alone", "not at all"
NEVER = "in no answer"

ROLES = ("admin", "service", "support", "sales", "marketer", "analyst", "data-engineer", "auditor")


def row(*forms):
    """A row of the table, in the order of ROLES."""
    return dict(zip(ROLES, forms, strict=True))


#            admin  service support sales  market. analyst data-e. auditor
A_NAME = row(CLEAR, CLEAR, CLEAR, CLEAR, HIDDEN, HIDDEN, HIDDEN, NEVER)
CONTACT = row(CLEAR, CLEAR, PART, CLEAR, HIDDEN, HIDDEN, HIDDEN, NEVER)
ADDRESS = row(CLEAR, CLEAR, PART, PART, HIDDEN, HIDDEN, HIDDEN, NEVER)
A_BIRTH = row(CLEAR, CLEAR, YEAR, YEAR, YEAR, YEAR, YEAR, NEVER)
FOREIGN = row(CLEAR, CLEAR, CLEAR, CLEAR, HIDDEN, HIDDEN, HIDDEN, NEVER)  # Ids of other systems, and what was written freely.
HASHES = row(CLEAR, CLEAR, NEVER, NEVER, NEVER, NEVER, NEVER, NEVER)  # By which platforms know people.
AMOUNTS = row(CLEAR, CLEAR, CLEAR, CLEAR, CLEAR, CLEAR, CLEAR, NEVER)
PLACES = CIRCUMSTANCES = AMOUNTS
OF_EVERYBODY = row(CLEAR, CLEAR, CLEAR, HIDDEN, HIDDEN, CLEAR, CLEAR, NEVER)  # Not for who reaches some alone.

FIELDS = {
    "quintile.ingestion.v1.SourceIdentity.id": FOREIGN,
    "quintile.ingestion.v1.Customer.display_name": A_NAME,
    "quintile.ingestion.v1.Customer.phone": CONTACT,
    "quintile.ingestion.v1.Customer.email": CONTACT,
    "quintile.ingestion.v1.Customer.address": ADDRESS,
    "quintile.ingestion.v1.Customer.birth_date": A_BIRTH,
    "quintile.ingestion.v1.Customer.referrer": FOREIGN,
    "quintile.ingestion.v1.Customer.referrer_source": FOREIGN,
    "quintile.ingestion.v1.ConsentEvent.source": FOREIGN,
    **{f"quintile.ingestion.v1.AudienceMember.{of}_sha256": HASHES for of in ("email", "phone", "phone_digits")},
    "quintile.ingestion.v1.CustomAttribute.text": FOREIGN,  # As its class: the canary's is free text.
    "quintile.ingestion.v1.Order.amount": AMOUNTS,
    "quintile.ingestion.v1.OrderLine.amount": AMOUNTS,
    "quintile.ingestion.v1.OrderLine.cost": AMOUNTS,
    "quintile.ingestion.v1.Order.profit": AMOUNTS,
    "quintile.ingestion.v1.Refund.amount": AMOUNTS,
    "quintile.ingestion.v1.Interaction.text": FOREIGN,
    "quintile.ingestion.v1.Feedback.text": FOREIGN,
    "quintile.ingestion.v1.AcquisitionSpend.amount": AMOUNTS,
    "quintile.ingestion.v1.WaitingFact.waiting_amount": AMOUNTS,
    **{f"quintile.ingestion.v1.OpeningBalance.{money}": AMOUNTS for money in (
        "gross_revenue", "profit", "first_date_revenue", "refunded", "unmatched_refunds")},
    "quintile.ingestion.v1.CategoryRevenue.revenue": AMOUNTS,
    "quintile.type.v1.Features.gross_revenue": AMOUNTS,
    "quintile.type.v1.Features.refunded": AMOUNTS,
    "quintile.type.v1.Features.unmatched_refunds": AMOUNTS,
    "quintile.type.v1.Features.profit": AMOUNTS,
    "quintile.type.v1.Features.repeat_revenue": AMOUNTS,
    **{f"quintile.type.v1.TraitValue.{kind}": AMOUNTS for kind in ("integer", "number", "money", "text", "time")},
    "quintile.type.v1.CustomerAttributes.region": PLACES,
    "quintile.type.v1.CustomerAttributes.country": PLACES,
    **{f"quintile.type.v1.CustomerAttributes.{it}": CIRCUMSTANCES for it in ("gender", "income_band", "household", "interests", "values")},
    "quintile.type.v1.WindowActivity.revenue": AMOUNTS,
    "quintile.type.v1.WindowActivity.previous_revenue": AMOUNTS,
    "quintile.type.v1.Features.net_revenue": AMOUNTS,
    "quintile.type.v1.Features.revenue": AMOUNTS,
    "quintile.type.v1.Features.average_order_value": AMOUNTS,
    "quintile.type.v1.ScoreValues.lifetime_value": AMOUNTS,
    "quintile.scoring.v1.DimensionExplanation.input": AMOUNTS,
    "quintile.scoring.v1.DimensionExplanation.to_next_better": AMOUNTS,
    "quintile.scoring.v1.DimensionExplanation.to_next_worse": AMOUNTS,
    "quintile.scoring.v1.DimensionExplanation.text_input": AMOUNTS,
    "quintile.scoring.v1.ScoreCell.revenue": AMOUNTS,
    "quintile.scoring.v1.ScoreCell.mean_lifetime_value": AMOUNTS,
    "quintile.scoring.v1.LeadGroup.value_if_converted": OF_EVERYBODY,
    "quintile.scoring.v1.LeadValue.value_if_converted": OF_EVERYBODY,
    "quintile.scoring.v1.LeadValue.value": OF_EVERYBODY,
    "quintile.scoring.v1.SpendFit.v_nanos": OF_EVERYBODY,
    "quintile.scoring.v1.SpendFit.mean": OF_EVERYBODY,
    **{f"quintile.scoring.v1.EconomicsGroup.{money}": AMOUNTS for money in (
        "spend", "acquisition_cost", "mean_revenue", "mean_lifetime_value")},
    "quintile.scoring.v1.CustomerValue.expected_spend": AMOUNTS,
    "quintile.scoring.v1.CustomerValue.lifetime_value": AMOUNTS,
    **{f"quintile.ingestion.v1.ExportedWarning.{money}": AMOUNTS for money in ("value_at_stake", "customer_value")},
    "quintile.ingestion.v1.ExportedPlaybookRun.revenue": AMOUNTS,
    "quintile.ingestion.v1.ExportedGrant.code": FOREIGN,
    "quintile.lifecycle.v1.Grant.code": FOREIGN,
    "quintile.lifecycle.v1.StageMove.revenue": AMOUNTS,
    "quintile.lifecycle.v1.Warning.value_at_stake": AMOUNTS,
    "quintile.lifecycle.v1.Warning.customer_value": AMOUNTS,
    "quintile.lifecycle.v1.PlaybookRun.revenue": AMOUNTS,
    "quintile.lifecycle.v1.OutcomeArm.revenue": AMOUNTS,
    **{f"quintile.lifecycle.v1.MeasuredRevenue.{money}": OF_EVERYBODY for money in ("value", "low", "high")},
    "quintile.lifecycle.v1.NextBestAction.value": AMOUNTS,
    # By those who were measured, of whom whoever reaches some alone reaches none.
    **{f"quintile.lifecycle.v1.NextBestAction.{money}": OF_EVERYBODY for money in ("expected", "at_least")},
    "quintile.segmentation.v1.LabelCount.net_revenue": AMOUNTS,
    "quintile.segmentation.v1.LabelMove.net_revenue": AMOUNTS,
    "quintile.segmentation.v1.SegmentPreview.net_revenue": AMOUNTS,
    "quintile.segmentation.v1.BreakdownGroup.net_revenue": AMOUNTS,
    "quintile.segmentation.v1.Target.score": AMOUNTS,
    "quintile.segmentation.v1.Target.mean_revenue": AMOUNTS,
    "quintile.segmentation.v1.MembershipMove.entering_revenue": AMOUNTS,
    "quintile.segmentation.v1.MembershipMove.leaving_revenue": AMOUNTS,
}
# Sums over those whom the caller reaches: callers of different reach see different ones.
SUMS = {f"quintile.segmentation.v1.{field}" for field in (
    "LabelCount.net_revenue", "LabelMove.net_revenue", "SegmentPreview.net_revenue", "BreakdownGroup.net_revenue",
    "MembershipMove.entering_revenue", "MembershipMove.leaving_revenue", "Target.score", "Target.mean_revenue")} | {
    "quintile.lifecycle.v1.OutcomeArm.revenue"}
# What is left of the canary's values where a role sees them in part.
PARTS = {"quintile.ingestion.v1.Customer.phone": "138****0429",
         "quintile.ingestion.v1.Customer.email": f"q****@{canaries.EMAIL_DOMAIN}",
         "quintile.ingestion.v1.Customer.address": canaries.ADDRESS[:-8] + "********"}


def option(field, number):
    """An option of ours on a field; 0: it is not there. Reflection's pool knows our options as unknown fields."""
    return next((each.data for each in UnknownFieldSet(field.GetOptions()) if each.field_number == number), 0)


def classified(field):
    sensitivity = option(field, SENSITIVITY)
    assert sensitivity, f"{field.full_name} declares no sensitivity"
    return sensitivity != NOT_CLASSIFIED


def ours(descriptor):
    return descriptor.full_name.startswith("quintile.")


def fields_of(descriptor, seen=None):
    """Every field of a message and of those within it, each once."""
    seen = set() if seen is None else seen
    if descriptor.full_name in seen or not ours(descriptor):
        return
    seen.add(descriptor.full_name)
    for field in descriptor.fields:
        yield field
        if field.message_type:
            yield from fields_of(field.message_type, seen)


def classified_fields(descriptor):
    """The full names of the classified fields in answers of a type."""
    return {field.full_name for field in fields_of(descriptor) if classified(field)}


def is_about(field, value, customer):
    """Whether the value of a field that names a customer names this one, as a resource, a part of one or a number."""
    return f"customers/{value}" == customer if isinstance(value, int) else value.split("/")[:2] == customer.split("/")


def seen_of(message, customer, path="", mine=True, seen=None):
    """{path: (field's name, value)} of the classified fields of what an answer says of a customer, or of nobody in particular.

    A value of None says that there is none. Whatever names a customer begins a path anew: it is the same in whichever list.
    """
    seen = {} if seen is None else seen
    for field in message.DESCRIPTOR.fields:
        named = getattr(message, field.name) if option(field, NAMES_CUSTOMER) else None
        if named:
            path, mine = message.DESCRIPTOR.full_name, is_about(field, named, customer)
    for field in message.DESCRIPTOR.fields:
        place = f"{path}.{field.name}"
        if classified(field):
            if mine:
                value = getattr(message, field.name)
                is_there = len(value) > 0 if field.is_repeated else message.HasField(field.name)
                given = (list(value) if field.is_repeated else value) if is_there else None
                seen[place] = field.full_name, given
        elif field.message_type and ours(field.message_type):
            if field.is_repeated:
                for index, inner in enumerate(getattr(message, field.name)):
                    seen_of(inner, customer, f"{place}[{index}]", mine, seen)
            elif message.HasField(field.name):
                seen_of(getattr(message, field.name), customer, place, mine, seen)
    return seen


def is_in_form(form, field, clear, seen):
    """Whether what a role sees of a field is this form of its clear value."""
    if form == CLEAR:
        return seen is not None if field in SUMS else str(seen) == str(clear)
    if form == PART:
        return seen == PARTS[field]
    if form == YEAR:
        return (seen.year, seen.month, seen.day) == (clear.year, 0, 0)
    assert form == HIDDEN, f"{field} is seen although it ought to be {form}"
    return seen == "****" if isinstance(clear, str) else seen is None


def names_one_customer(method):
    """Whether the request names one customer, by what its answer is about."""
    request, answer = method.request.DESCRIPTOR, method.response.DESCRIPTOR
    named = {"name", "parent", "customer"} & set(request.fields_by_name)
    about = any(option(field, NAMES_CUSTOMER) for field in fields_of(answer))
    creating = method.path.endswith(("CreateCustomer", "ListMembers", "ListMemberRecords", "ListCustomers"))
    return bool(named) and not creating and (about or method.path.endswith(("EraseCustomer", "GetErasureReceipt")))
