"""What labels are called by language, and playbooks that come with the product in several languages: against words written down here."""
import uuid

import pytest

from support import clusters, label_sets, policies
from support.label_sets import REST, name_of
from support.playbook_kit import CREATE as CREATE_PLAYBOOK
from support.playbook_kit import TEMPLATES, is_refused, playbook
from support.refusals import INVALID_ARGUMENT

CREATE, UPDATE = "LabelService/CreateLabelSet", "LabelService/UpdateLabelSet"
LANGUAGES = ("en", "de", "zh")
ROWS = [("few", "rfm.f < 3", None), ("many", "rfm.f >= 3", None)]
SCOPED = {"few": {"de": "Wenige", "zh": "少数"}, "many": {"zh-Hant": "多數", "zh": "多数"}, REST: {}}
NO_LANGUAGES = ("", " ", "-", "en-", "-en", "en_GB", "deutschland", "中文", "en GB", "a" * 9, "-".join(["abcdefgh"] * 5), "en\0", "e\u202en")
# As they are known; of the eight of two halves each, as the Chinese RFM has them.
CHINESE = {
    "rfm-11": {"champions": "冠军客户", "loyal": "忠诚客户", "potential-loyalist": "潜在忠诚客户", "new": "新客户", "promising": "潜力客户",
               "need-attention": "需关注客户", "about-to-sleep": "即将沉睡客户", "at-risk": "流失风险客户", "cannot-lose": "不能流失客户",
               "hibernating": "休眠客户", "lost": "已流失客户"},
    "rfm-8": {"vip": "贵宾客户", "cannot-lose": "不能流失客户", "at-risk": "流失风险客户", "loyal": "忠诚客户", "big-spender": "高消费客户", "new": "新客户",
              "promising": "潜力客户", "lapsed": "久未消费客户"},
    "rfm-cn-8": {"key-value": "重要价值客户", "key-develop": "重要发展客户", "key-keep": "重要保持客户", "key-win-back": "重要挽留客户",
                 "general-value": "一般价值客户", "general-develop": "一般发展客户", "general-keep": "一般保持客户", "general-win-back": "一般挽留客户"},
    "lifecycle": {"lead": "潜在客户", "new": "新客户", "active": "活跃客户", "loyal": "忠诚客户", "at-risk": "流失风险客户", "dormant": "沉睡客户",
                  "churned": "流失客户", "reactivated": "回流客户"},
}


def titles_of(labels):
    """{label: {language: title}}, each language once."""
    found = {label_sets.id_of(getattr(each, "label", "") or each.name): {title.language: title.title for title in each.titles} for each in labels}
    assert [len(each.titles) for each in labels] == [len(each) for each in found.values()]
    return found


def titled(set_id, titles=None, rows=ROWS):
    """Labels as a request has them, with titles by language."""
    made = label_sets.rules(set_id, rows)
    for each in made["labels"]:
        of = (titles or SCOPED)[label_sets.id_of(each["name"])]
        each["titles"] = [{"language": language, "title": title} for language, title in of.items()]
    return made


@pytest.fixture
def new():
    """The id of a set that no other test uses."""
    return f"s{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def town(shared):
    """A client of a suite in which some have bought."""
    admin = shared.client("admin")
    label_sets.take_in(admin, 0, 120)
    return admin


# -- labels ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("preset", ["rfm-11", "rfm-8", "rfm-cn-8", "frequency-3", "value-3", "lifecycle"])
def a_preset_has_titles_in_english_german_and_chinese(town, new, preset):
    made = label_sets.create_preset(town, f"p{new}", preset)
    told = titles_of(made.labels)
    assert all(tuple(each) == LANGUAGES and all(each.values()) for each in told.values()), told
    for language in LANGUAGES:
        of = [each[language] for each in told.values()]
        assert len(set(of)) == len(of), "no two of a set are called the same"
    if preset in CHINESE:
        assert {label: each["zh"] for label, each in told.items() if label in CHINESE[preset]} == CHINESE[preset]
    own = "zh" if preset == "rfm-cn-8" else "en"
    assert all(told[label_sets.id_of(each.name)][own].startswith(each.title) for each in made.labels if each.name != made.labels[-1].name)


def the_set_that_ships_has_them_too_and_channels_have_names(town, new):
    shipped = titles_of(label_sets.get(town, "rfm-11").labels)
    assert {label: each["zh"] for label, each in shipped.items() if label in CHINESE["rfm-11"]} == CHINESE["rfm-11"]
    assert shipped["champions"]["en"] == "Champions" and shipped["new"]["de"] == "Neukunden"
    channels = titles_of(label_sets.create_preset(town, f"c{new}", "channel").labels)
    assert len(channels) > 1 and all(not each for each in list(channels.values())[:-1]) and tuple(channels["other"]) == LANGUAGES


def titles_are_told_as_they_were_written_wherever_labels_are(town, new):
    made = town.call(CREATE, {"label_set_id": new, "label_set": titled(new)})
    listed = town.call("LabelService/ListLabelSets", {"page_size": 1_000}).label_sets
    counted = town.call("LabelService/GetLabelDistribution", {"name": name_of(new)}).labels
    version = label_sets.versions(town, new)[0].rules.labels
    [of_list] = [each.labels for each in listed if each.name == name_of(new)]
    for labels in (made.labels, label_sets.get(town, new).labels, of_list, counted, version):
        assert titles_of(labels) == SCOPED
    assert [each.title for each in made.labels] == ["The few", "The many", f"The {REST}"]


def another_title_moves_nobody_and_is_in_force_when_it_is_published(town, new):
    town.call(CREATE, {"label_set_id": new, "label_set": titled(new)})
    before = label_sets.distribution(town, new)
    others = SCOPED | {"few": {"fr": "Peu"}, REST: {"zh": "其他"}}
    changed = label_sets.update(town, new, "draft", draft=titled(new, others))
    assert titles_of(changed.labels) == SCOPED and titles_of(changed.draft.labels) == others
    assert label_sets.preview(town, new).moving_customers == 0
    published = label_sets.publish(town, new)
    assert titles_of(published.labels) == others and published.version == 2
    assert [each.moved for each in label_sets.versions(town, new)][0] == 0
    assert label_sets.distribution(town, new) == before


def a_set_outlives_a_restart_with_its_titles(fresh):
    fresh.client("admin").call(CREATE, {"label_set_id": "kept", "label_set": titled("kept")})
    fresh.stop()
    fresh.start()
    assert titles_of(label_sets.get(fresh.client("admin"), "kept").labels) == SCOPED


def clusters_are_called_by_language_by_their_draft(town, new):
    clusters.put_in_force(town, new, ("orders", "net_revenue"), within="orders > 0", clusters=2)
    labels = [{"name": each.name, "title": each.title, "titles": [{"language": "zh", "title": f"第{place}类"}]}
              for place, each in enumerate(label_sets.get(town, new).labels)]
    label_sets.update(town, new, "draft", draft={"labels": labels})
    published = label_sets.publish(town, new)
    assert [each["zh"] for each in titles_of(published.labels).values()] == [f"第{place}类" for place in range(len(labels))]


# -- what is refused ------------------------------------------------------------------------------------------------------

def refused_titles(admin, new, titles, field):
    """As a new set and as a draft, with the field that is wrong."""
    labels = label_sets.rules(new, ROWS)
    labels["labels"][1]["titles"] = titles
    refusal = admin.refused(CREATE, {"label_set_id": f"x{new}", "label_set": {
        "labels": [each | {"name": each["name"].replace(new, f"x{new}")} for each in labels["labels"]]}})
    refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert refusal.bad_request.field_violations[0].field == f"label_set.labels[1].titles{field}"
    refusal = admin.refused(UPDATE, label_sets.change(new, "draft", draft=labels))
    refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert refusal.bad_request.field_violations[0].field == f"label_set.draft.labels[1].titles{field}"


def titles_that_make_no_sense_are_refused(town, new):
    label_sets.create(town, new, ROWS)
    before = label_sets.get(town, new)
    for language in NO_LANGUAGES:
        refused_titles(town, new, [{"language": "de", "title": "a"}, {"language": language, "title": "b"}], "[1].language")
    for other in ("zh-TW", "ZH-tw"):
        refused_titles(town, new, [{"language": "zh-TW", "title": "a"}, {"language": other, "title": "b"}], "[1].language")
    for title in ("", " ", "é" * 65, "a\0b", "a\nb", "a\u202eb"):
        refused_titles(town, new, [{"language": "de", "title": title}], "[0].title")
    refused_titles(town, new, [{"language": f"x-{place}", "title": "a"} for place in range(21)], "")
    assert label_sets.get(town, new) == before


def as_many_and_as_long_as_may_be_are_taken(town, new):
    most = {f"x-{place}": "段" * 42 + "xx" for place in range(20)}
    made = town.call(CREATE, {"label_set_id": new, "label_set": titled(new, {"few": most, "many": most, REST: most})})
    assert set(map(str, titles_of(made.labels).values())) == {str(most)}
    # Of all labels together there may be 32 KiB: 13 times 20 times 128 bytes are more.
    rows = [(f"of-{number}", f"orders == {number}", None) for number in range(12)]
    too_much = titled(f"y{new}", {label: most for label in [*(row[0] for row in rows), REST]}, rows)
    refusal = town.refused(CREATE, {"label_set_id": f"y{new}", "label_set": too_much})
    refusal.must_be(INVALID_ARGUMENT, "INVALID_FIELD")
    assert refusal.bad_request.field_violations[0].field == "label_set.labels"


# -- playbooks ------------------------------------------------------------------------------------------------------------

NAMES = {
    "en": ["Birthday", "Rescue of customers one cannot lose", "Following up a complaint", "Season's greetings", "Following up a low score",
           "Nurturing leads", "Thanks for coming back", "Care for champions", "Welcome", "Winning back"],
    "de": ["Geburtstag", "Rettung unverzichtbarer Kunden", "Einer Beschwerde nachgehen", "Festtagsgrüße", "Einer schlechten Bewertung nachgehen",
           "Interessenten gewinnen", "Danke für die Rückkehr", "Champions pflegen", "Willkommen", "Zurückgewinnen"],
    "zh": ["生日祝福", "挽救不能流失的客户", "投诉跟进", "节日问候", "低分评价跟进", "潜在客户培育", "感谢回归", "冠军客户关怀", "新客欢迎", "客户召回"],
}
ASKED = {"": "en", "en": "en", "en-GB": "en", "fr": "en", "de": "de", "de-AT": "de", "DE": "de", "zh": "zh", "zh-Hant-TW": "zh", "den": "en"}
CALLS = {"en": "Call about the complaint", "de": "Wegen der Beschwerde anrufen", "zh": "就投诉事宜致电客户"}
WISHES = {"en": "Happy birthday!", "de": "Alles Gute zum Geburtstag!", "zh": "祝您生日快乐！"}


def without_texts(told):
    """A playbook without what people read of it."""
    bare = policies.as_dict(told)
    for each in (field for field in ("display_name", "description") if field in bare):
        bare[each] = ""
    for step in (step for variant in bare["variants"] for step in variant["steps"]):
        for action, texts in (("task", ("title", "note")), ("email", ("texts",))):
            for text in texts:
                step.get(action, {}).pop(text, None)
    return bare


@pytest.mark.parametrize("asked", ASKED)
def templates_are_in_the_language_that_is_asked_for(admin, new, asked):
    language = ASKED[asked]
    english = admin.call(TEMPLATES).templates
    told = admin.call(TEMPLATES, {"language": asked}).templates
    assert [each.playbook.display_name for each in told] == NAMES[language]
    assert [each.name for each in told] == [each.name for each in english]
    by = {each.name.split("/")[1]: each.playbook for each in told}
    assert by["complaint-follow-up"].variants[0].steps[0].task.title == CALLS[language]
    texts = {text.language: text.subject for text in by["birthday"].variants[0].steps[0].email.texts}
    assert texts == {"": WISHES[language]} | {each: wishes for each, wishes in WISHES.items() if each != language}
    # They do the same, whatever they say.
    assert [without_texts(each.playbook) for each in told] == [without_texts(each.playbook) for each in english]
    for place, each in enumerate(told):
        made = admin.call(CREATE_PLAYBOOK, {"playbook_id": f"t{place}-{new}", "template": each.name, "language": asked})
        assert (made.display_name, made.description) == (each.playbook.display_name, each.playbook.description)
        assert list(made.variants) == list(each.playbook.variants)


def what_is_no_language_is_refused(admin, new):
    for wrong in NO_LANGUAGES[1:]:
        is_refused(admin, TEMPLATES, {"language": wrong}, "language")
        is_refused(admin, CREATE_PLAYBOOK, {"playbook_id": f"t{new}", "template": "playbookTemplates/welcome", "language": wrong}, "language")
    is_refused(admin, CREATE_PLAYBOOK, {"playbook_id": f"t{new}", "playbook": playbook(), "language": "de"}, "language")


# -- the operator's command -----------------------------------------------------------------------------------------------

def tables_are_in_the_language_of_the_reader(shared, town):
    german = shared.run("labels", "show", "labelSets/rfm-11", "--language", "de-CH")
    assert "Treue Kunden" in german and "Loyal " not in german
    assert "冠军客户" in shared.run("labels", "show", "--language", "zh") and "Champions" in shared.run("labels", "show", "--language", "fr")
    assert "潜力客户" in shared.run("labels", "count", "--language", "zh") and "Promising" in shared.run("labels", "count")
    assert "投诉" in shared.run("playbooks", "templates", "--language", "zh") and "complains" in shared.run("playbooks", "templates")
