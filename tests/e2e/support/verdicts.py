"""What every service makes of a token."""
from concurrent.futures import ThreadPoolExecutor

from support.policies import ONE_EACH
from support.refusals import Refusal


def status(suite, token, method):
    """The code and reason with which a service answers a token; ("OK", None): it lets it through."""
    try:
        suite.api().client(token).call(method)
    except Refusal as refusal:
        assert token == "" or len(token) < 9 or token not in str(refusal.answer), "a token was echoed"
        return refusal.code.name, refusal.reason
    return "OK", None


def let_through(suite, forgeries):
    """[(what was wrong, method, answer)] of the tokens that a service did not refuse as it ought to."""
    asked = [(what, token, method) for what, token in forgeries.items() for method in ONE_EACH]
    with ThreadPoolExecutor(2 * len(ONE_EACH)) as at_once:  # A service may wait for keys that do not come.
        answers = list(at_once.map(lambda each: (each[0], each[2], status(suite, *each[1:])), asked))
    return [answer for answer in answers if answer[2] != ("UNAUTHENTICATED", "UNAUTHENTICATED")]


def is_accepted(suite, token):
    """Whether every service takes a token for an analyst's."""
    expected = {method: ("OK", None) for method in ONE_EACH} | {"TenantService/ListTenants": ("PERMISSION_DENIED", "METHOD_DENIED")}
    return all(status(suite, token, method) == expected[method] for method in ONE_EACH)
