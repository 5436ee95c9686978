"""Values that are nowhere but where the tests planted them, and the search for them in everything that comes back."""
import hashlib
import json
import re
from dataclasses import dataclass

from google.protobuf import json_format

NAME = "Quillon Zephyrwick"
PHONE = "+8613871650429"
NATIONAL_PHONE = "13871650429"
EMAIL_LOCAL = "quillon.kestrel7731"
EMAIL_DOMAIN = "zephyrwick-post.example"
EMAIL = f"{EMAIL_LOCAL}@{EMAIL_DOMAIN}"
ADDRESS = "北京市海淀区马甸冠城园7731号"
# What platforms know the customer by. Whoever can guess an address or a number finds it out by them.
HASHES = tuple(hashlib.sha256(each.encode()).hexdigest() for each in (EMAIL, PHONE, PHONE[1:]))
BIRTH_DATE = {"year": 1987, "month": 3, "day": 14}
BIRTHDAY = {"month": 3, "day": 14}
SOURCE_ID = "canary-id-550917"
REGION = "north"
REFERRER = "partner-shop 8812-vorpal"
HOUSEHOLD = "with 7 momeraths"
CONSENT_SOURCE = "told us 7731-quokka"
# A custom attribute, declared as free text.
NOTE_KEY, NOTE = "canary-note", "asks for Mr Bandersnatch"
# What the customer said, in feedback and in an interaction.
SAID = "the jubjub teapot came broken"
# The subject that a token of the role `sales` has where none is asked for, so that the customer is its own.
OWNER = "sales"

CUSTOMER = {"identities": [{"source": "shop", "id": SOURCE_ID}], "display_name": NAME, "phone": PHONE, "email": EMAIL,
            "address": ADDRESS, "birth_date": BIRTH_DATE, "referrer": REFERRER,
            "attributes": {"kind": "CUSTOMER_KIND_CUSTOMER", "owner": OWNER, "region": REGION, "language": "zh", "country": "CN",
                           "gender": "female", "income_band": "high", "household": HOUSEHOLD,
                           "interests": ["tea", "kites"], "values": ["thrift"]}}


@dataclass(frozen=True)
class Hidden:
    """What a role must never receive."""

    texts: tuple
    digits: tuple = ()
    birth_date: bool = False


# Any part that would tell: the family name, the local part of the address, the last eight digits.
FROM_ANALYSTS = Hidden(texts=(NAME, "Quillon", "Zephyrwick", "zephyrwick", EMAIL_LOCAL, "kestrel7731", "北京市海淀区", "冠城园", "7731号",
                              SOURCE_ID, REFERRER, "vorpal", CONSENT_SOURCE, NOTE, "Bandersnatch", "jubjub", *HASHES),
                       digits=(NATIONAL_PHONE[-8:], NATIONAL_PHONE[:7]), birth_date=True)
# Support sees the name, and the others in part.
FROM_SUPPORT = Hidden(texts=(EMAIL_LOCAL, "kestrel7731", "冠城园", "7731号", *HASHES), digits=(NATIONAL_PHONE[-8:], NATIONAL_PHONE[:8]),
                      birth_date=True)
# The canary is a customer of the one who asks: how to reach it is clear, and where it lives is not.
FROM_SALES = Hidden(texts=("冠城园", "7731号", *HASHES), birth_date=True)
FROM_NOBODY = Hidden(texts=())
HIDDEN_FROM = {"admin": FROM_NOBODY, "service": FROM_NOBODY, "support": FROM_SUPPORT, "sales": FROM_SALES,
               "marketer": FROM_ANALYSTS, "analyst": FROM_ANALYSTS, "data-engineer": FROM_ANALYSTS, "auditor": FROM_ANALYSTS}
# Nothing of this may be in a log, an error or a data file.
FROM_OUTPUT = Hidden(texts=(NAME, "vorpal", "Zephyrwick", "zephyrwick", EMAIL_LOCAL, "冠城园", CONSENT_SOURCE, "Bandersnatch", "jubjub", *HASHES),
                     digits=(NATIONAL_PHONE[-8:],))


def texts_in(value):
    """Every text in the JSON form of a message, keys of maps included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)


def dates_in(message):
    """Every google.type.Date in a message, at any depth."""
    if message.DESCRIPTOR.full_name == "google.type.Date":
        yield message
    for field, value in message.ListFields():
        if field.message_type and not field.message_type.GetOptions().map_entry:
            for inner in (value if field.is_repeated else [value]):
                yield from dates_in(inner)


def found_in_bytes(data, hidden):
    """The canaries that stand in raw bytes, in UTF-8 or as hexadecimal digits; hashes also as what their digits say."""
    lower = data.lower()
    return [text for text in hidden.texts
            if text.encode() in data or text.encode().hex().encode() in lower
            or (text in HASHES and (bytes.fromhex(text) in data or text.encode() in lower))] + [
            digits for digits in hidden.digits if digits.encode() in data]


def found_in_text(text, hidden):
    """The canaries in a text, telephone numbers also where something stands between their digits."""
    only_digits = re.sub(r"\D", "", text)
    return [each for each in hidden.texts if each in text] + [each for each in hidden.digits if each in only_digits]


def found_in_message(message, hidden):
    """The canaries in an answer: in its bytes, in each of its texts, and in its dates."""
    found = found_in_bytes(message.SerializeToString(), hidden)
    pool = message.DESCRIPTOR.file.pool  # Which knows what operations carry packed.
    document = json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool)
    for text in texts_in(document):
        found += found_in_text(text, hidden)
    if hidden.birth_date:
        found += [f"a date with month {date.month} and day {date.day}" for date in dates_in(message)
                  if date.year == BIRTH_DATE["year"] and (date.month or date.day)]
    return found


def found_in_metadata(metadata, hidden):
    """The canaries in headers and trailers, and in the details of errors, which are among them."""
    found = []
    for key, value in metadata:
        raw = value if isinstance(value, bytes) else value.encode()
        found += found_in_bytes(raw, hidden) + found_in_text(f"{key} {raw.decode(errors='replace')}", hidden)
    return found


def found_in_refusal(refusal, hidden):
    return found_in_text(refusal.message, hidden) + found_in_metadata(refusal.trailers, hidden)


def found_in_json_log(text, hidden):
    """The canaries in a log, whose lines may be JSON with escapes."""
    found = found_in_bytes(text.encode(), Hidden(hidden.texts, hidden.digits))
    for line in text.splitlines():
        try:
            inner = json.loads(line)
        except ValueError:
            continue
        for each in texts_in(inner):
            found += [canary for canary in hidden.texts if canary in each]
    return found
