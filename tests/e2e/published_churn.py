"""Contracts of others: files of who has left, imported by the command as their owners would, and held to figures that are published of them.

    QUINTILE_DATA  a folder with the data sets that are not ours to ship; these tests are skipped without it, and say so
"""
import csv
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from support import churn, labels, questions, quintile, score_models
from support.churn import get, publish, risk, risks


class Contracts(NamedTuple):
    """A file of contracts: its place, the column of the customers' ids, those that are left out, that of who has left with its value of them, and how
    many customers it has and how many left."""

    file: str
    key: str
    left_out: tuple
    label: str
    left_value: str
    customers: int
    left: int


TELCO = Contracts("telco/WA_Fn-UseC_-Telco-Customer-Churn.csv", "customerID", (), "Churn", "Yes", 7_043, 1_869)
BANK = Contracts("bank_churn/Churn_Modelling.csv", "CustomerId", ("RowNumber", "Surname"), "Exited", "1", 10_000, 2_037)


def attribute_of(column):
    """The id of an attribute, of a column's name: `MonthlyCharges` is `monthly-charges`."""
    return "-".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", column)).lower()


def columns_of(contracts):
    """The columns of a file that become attributes."""
    folder = os.environ.get("QUINTILE_DATA")
    if not folder:
        pytest.skip(f"QUINTILE_DATA is not set: {contracts.file} was not read")
    file = Path(folder) / contracts.file
    with open(file, encoding="utf-8", newline="") as stream:
        columns = next(csv.reader(stream))
    return file, [column for column in columns if column not in (contracts.key, *contracts.left_out)]


def mapping(contracts, columns):
    """What the owner of the file writes down for `quintile import`."""
    values = "".join(f'custom_attributes.{attribute_of(column)} = "{column}"\n' for column in columns)
    return f'source = "contracts"\nnull = ["", " "]\n\n[[table]]\ncustomer_id = "{contracts.key}"\n\n[[table.customer]]\n{values}'


def trained(suite, folder, contracts):
    """The draft that the command trains on a file that it has imported."""
    file, columns = columns_of(contracts)
    admin = suite.client("admin")
    labels.declare(admin, {attribute_of(column): "NONE" for column in columns})
    written = folder / "contracts.toml"
    written.write_text(mapping(contracts, columns))
    said = json.loads(suite.run("import", file, "--mapping", written, "-o", "json", seconds=quintile.IMPORT_SECONDS))
    assert said["sent"]["rejected"] == 0, said
    questions.wait_for(admin, said["sent"]["facts_position"])
    features = ",".join(attribute_of(column) for column in columns if column != contracts.label)
    told = suite.run("churn", "train", "--label", attribute_of(contracts.label), "--left-value", contracts.left_value, "--features", features,
                     seconds=quintile.IMPORT_SECONDS)
    assert f"{attribute_of(contracts.label)} = {contracts.left_value}" in told and "5 folds" in told, told
    model = churn.models(admin)[0]
    assert (model.evaluation.customers, model.evaluation.left, model.evaluation.folds) == (contracts.customers, contracts.left, 5)
    return model


def by_method(model):
    return {score_models.enum_name(each, "method"): each.evaluation for each in model.candidates}


def telco_is_foretold_as_well_as_published(fresh, tmp_path):
    """Published across folds: a regression 0.8449 with a Brier score of 0.1355, boosting 0.8470."""
    model = trained(fresh, tmp_path, TELCO)
    found = by_method(model)
    assert found["LOGISTIC"].area_under_curve >= 0.844 and found["LOGISTIC"].brier <= 0.136, found
    assert found["BOOSTING"].area_under_curve >= 0.844 and found["BOOSTING"].brier <= 0.137, found
    # A witness that knows the same, of the same file.
    file, columns = columns_of(TELCO)
    with open(file, encoding="utf-8", newline="") as stream:
        rows = {line[TELCO.key]: {attribute_of(each): line[each] for each in columns if line[each].strip()} for line in csv.DictReader(stream)}
    witness = labels.Judged(rows, [f"attributes/{attribute_of(column)}" for column in columns if column != TELCO.label], "attributes/churn", "Yes")
    assert found["LOGISTIC"].area_under_curve == pytest.approx(witness.area(), abs=1e-7)
    assert found["LOGISTIC"].brier == pytest.approx(witness.brier(), abs=1e-6)
    # Who may leave any month does, and who has been there for long stays.
    drivers = {each.feature: each for each in model.drivers}
    assert drivers["attributes/contract"].levels[0].level == "Month-to-month" and drivers["attributes/tenure"].direction < 0
    admin = fresh.client("admin")
    publish(admin, get(admin, model.name))
    found = risks(admin, page_size=1_000)
    assert len(found) == TELCO.customers - TELCO.left
    highest = max(found, key=lambda name: found[name].risk)
    factors = {each.feature: each.text for each in risk(admin, highest).factors}
    assert factors["attributes/contract"] == "Month-to-month"
    shown = fresh.run("churn", "risk", highest)
    assert "contract" in shown and "leaves with a probability" in shown


def customers_of_a_bank_are_foretold_as_well_as_published(fresh, tmp_path):
    """Published across folds: a regression 0.7652, boosting 0.8660."""
    model = trained(fresh, tmp_path, BANK)
    found = by_method(model)
    assert found["BOOSTING"].area_under_curve >= 0.86, found
    assert found["LOGISTIC"].area_under_curve == pytest.approx(0.7652, abs=0.001), found
    assert model.evaluation == found["BOOSTING"] and score_models.enum_name(model, "method") == "BOOSTING" and model.better
