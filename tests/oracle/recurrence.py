"""An independent opinion on recurrence rules: python-dateutil.

One JSON list of cases on standard input, [{"rule": text, "first": local, "until": local}, ...], and one list of answers on
standard output: the local times of the first 20 starts before `until`.
"""

import datetime
import itertools
import json
import sys

from dateutil import rrule


class Clock:
    """The datetime module with an end that can be moved: a rule that never begins is looked for until the last year."""

    MAXYEAR = datetime.MAXYEAR

    def __getattr__(self, name):
        return getattr(datetime, name)


rrule.datetime = Clock()


def answer(case):
    first, until = (datetime.datetime.fromisoformat(case[name]) for name in ("first", "until"))
    Clock.MAXYEAR = until.year
    try:
        rule = rrule.rrulestr(case["rule"], dtstart=first)
    except ValueError as error:
        # It finds out for itself that a rule's times and its interval never meet.
        if "empty" in str(error):
            return []
        raise
    starts = itertools.takewhile(lambda start: start < until, rule)
    return [start.isoformat() for start in itertools.islice(starts, 20)]


json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
