"""Take passwords and keys out of every text that is shown, logged, stored or put on a page.

A URI may hold them in three places: before the host (`postgresql://user:password@host`), in its
query (`s3://lab/runs?secret_key=...`), and a database's driver may repeat them as `password=...`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_plus

MASK = "***"
SHORTEST = 4  # letters of a secret that is replaced wherever it stands; "a" would be everywhere

_SECRET_NAME = r"(?:pass|pwd|secret|key|token|cred|sig|auth)"
_SCHEME = r"(?P<scheme>\b[A-Za-z][\w+.-]*://)"
# a password that is not percent-encoded may hold "@" itself
_MORE = r"(?:[^\s'\"<>]*@)?"
# the usual form: the host's part of a URI ends at "/"
_BEFORE_HOST = re.compile(_SCHEME + r"[^\s/]*@" + _MORE)
# it may hold "/", "?" or a space, too; digits behind the first colon are a port where no "@"
# follows before the next space
_UNQUOTED = re.compile(
    _SCHEME
    + r"[^\s/:@'\"<>]*:(?!\d{1,5}(?:[^\d\s@][^\s@]*)?(?:\s|$))[^\n'\"<>]*?@(?=[\w\[])"
    + _MORE
)
_IN_QUERY = re.compile(
    rf"(?P<name>[?&;](?:amp;)?[\w.%-]*{_SECRET_NAME}[\w.%-]*=)[^&\s'\"#<>]*", re.IGNORECASE
)
_AS_WORD = re.compile(
    r"(?P<name>\b\w*(?:password|passwd|pwd|secret)\w*=)('[^']*'|\"[^\"]*\"|[^\s&'\"]+)",
    re.IGNORECASE,
)


def mask(text: object, *uris: str) -> str:
    """The text without the secrets of the URIs in it.

    Args:
        text: anything; its str() is taken.
        uris: their secrets are replaced wherever they stand, also where a library repeats them
            outside a URI.
    """
    masked = str(text)
    for secret in sorted({s for uri in uris for s in secrets(uri)}, key=len, reverse=True):
        masked = masked.replace(secret, MASK)
    masked = _BEFORE_HOST.sub(rf"\g<scheme>{MASK}@", masked)
    masked = _UNQUOTED.sub(rf"\g<scheme>{MASK}@", masked)
    masked = _IN_QUERY.sub(rf"\g<name>{MASK}", masked)
    return _AS_WORD.sub(rf"\g<name>{MASK}", masked)


def without_user(uri: str) -> str:
    """An address that a browser can open: user and password left out, a query's secrets masked."""
    return mask(uri).replace(f"://{MASK}@", "://")


def secrets(uri: str) -> set[str]:
    """The passwords and keys of one URI, as they are written and decoded."""
    scheme, separator, rest = uri.partition("://")
    # without a host, as in sqlite:////home/me@lab/mlflow.db, an "@" belongs to the path
    if not separator or rest.startswith("/"):
        return set()
    before, at, _ = rest.partition("?")[0].rpartition("@")
    user, colon, password = before.partition(":")
    found = {password} if colon else {user}
    # a bucket's access key is half of the pair
    if at and scheme.startswith("s3"):
        found.add(user)
    for part in re.split("[&;]", rest.partition("?")[2].partition("#")[0]):
        name, _, value = part.partition("=")
        if re.search(_SECRET_NAME, name, re.IGNORECASE):
            found.add(value)
    found |= {unquote(s) for s in found} | {unquote_plus(s) for s in found}
    return {s for s in found if len(s) >= SHORTEST}
