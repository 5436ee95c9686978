"""Identifying fields are ciphertext wherever they lie: in every file of the data directory and every table."""
from support import canaries, facts
from support.world import populate


def no_file_and_no_table_holds_a_contact_detail_in_clear(fresh):
    admin = populate(fresh).client("admin")
    admin.call("IngestService/IngestBatch", facts.batch(facts.customer(
        "in-bulk", display_name=canaries.NAME, phone=canaries.PHONE, email=canaries.EMAIL, address=canaries.ADDRESS, referrer=canaries.REFERRER)))
    found = {place: canaries.found_in_bytes(data, canaries.FROM_OUTPUT) for place, data in fresh.at_rest()}
    assert len(found) >= 6, f"only {len(found)} places were searched"
    assert {place: canary for place, canary in found.items() if canary} == {}
