"""Days that begin runs of playbooks, as requests have them; and at which instants each comes, told plainly from the calendar and the clock on the
wall, which tests hold what is told of runs to."""
import calendar
from datetime import date, timedelta
from typing import NamedTuple

from support import facts, questions
from support.playbook_witness import Book, Person, Witness
from support.playbooks import CREATE, content, lead, now_in, plain, plain_task, runs_of, start, tasks_of, until_equal

LEAP = 2, 29
BIRTHDAYS = "CustomerService/ListBirthdays"
# Until what has come due in years is done, on a machine that has other things to do.
SECONDS = 120


# -- what requests say ----------------------------------------------------------------------------------------------------

def on_days(*days, before=0, hour=0):
    """What begins runs on days: dates, or (month, day) for those of every year."""
    said = [facts.date_of(day) if isinstance(day, date) else dict(zip(("month", "day"), day, strict=True)) for day in days]
    return {"date": {"dates": said, "days_before": before, "hour": hour}}


def on_birthdays(before=0, hour=0):
    return {"date": {"birthday": True, "days_before": before, "hour": hour}}


def born(key, birth=None, **attributes):
    """The row of somebody who has no order, and was born on a day where one is given."""
    row = lead(key, **attributes)
    row["customer"] |= {"birth_date": facts.date_of(birth)} if birth else {}
    return row


def birthdays(client, month, day, **request):
    """Whose birthday a day is, of all pages: the names."""
    return questions.everything(client, BIRTHDAYS, "customers", month=month, day=day, **request)


# -- when days come -------------------------------------------------------------------------------------------------------

def anniversary(year, month, day):
    """What a day of the calendar is in a year: the one that most years do not have is the day before in those."""
    return date(year, month, 28 if (month, day) == LEAP and not calendar.isleap(year) else day)


def coming(trigger, zone, begin, end, birth=None):
    """The instants behind one and up to another at which the day of a trigger comes for somebody born on a day, each once and in order."""
    said, days = trigger["date"], set()
    # Days of the year after may be so many days before.
    for year in range(begin.year - 1, end.year + 2):
        if said.get("birthday"):
            days |= {anniversary(year, birth.month, birth.day)} if birth else set()
        else:
            days |= {anniversary(year, each["month"], each["day"]) for each in said["dates"] if each.get("year", year) == year}
    comes = {day - timedelta(days=said["days_before"]) for day in days}
    return sorted(at for at in (now_in(zone, day.year, day.month, day.day, said["hour"]) for day in comes) if begin < at <= end)


class Coming(NamedTuple):
    """That a playbook is triggered for somebody."""

    at: object
    place: int
    person: Person


class Diary:
    """A company whose customers are born on days: its playbooks that go by days, beside what the witness makes of them as time goes by."""

    def __init__(self, office, zone, people, playbooks, end):
        """`people` are {key: day of birth}, `playbooks` {id: (trigger, steps, other fields)}; it is known up to an end."""
        self.office, self.witness, self.books = office, Witness(zone), []
        office.take_in(*(born(key, birth) for key, birth in people.items()))
        numbers = questions.numbers_of(office.client)
        self.coming = []
        for place, (playbook, (trigger, steps, fields)) in enumerate(playbooks.items()):
            made = content(trigger, *steps, **fields)
            name = office.client.call(CREATE, {"playbook_id": playbook, "playbook": made}).name
            self.books.append(Book(name, start(office.client, name).version, made))
            self.coming += [Coming(at, place, Person(numbers[key])) for key, birth in people.items()
                            for at in coming(trigger, zone, office.now, end, birth)]
        self.coming.sort(reverse=True, key=lambda each: (each.at, each.place, each.person.number))

    def instants(self):
        """At which something is triggered that was not yet, in order."""
        return sorted({each.at for each in self.coming})

    def assert_as_expected(self):
        """All runs and tasks are those that the witness has up to now."""
        client, witness, now = self.office.client, self.witness, self.office.now
        while self.coming and self.coming[-1].at <= now:
            due = self.coming.pop()
            witness.go(due.at)
            witness.trigger(due.person, self.books[due.place], due.at)
        witness.go(now)
        runs = sorted((each.plain() for each in witness.runs), key=str)
        until_equal(lambda: sorted((plain(each) for book in self.books for each in runs_of(client, book.name)), key=str), runs, SECONDS)
        assert sorted(map(plain_task, tasks_of(client)), key=str) == sorted(witness.tasks, key=str)
