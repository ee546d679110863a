"""Multipart forms: what the standard library's mail parser finds in a part is in ours."""

from email import policy
from email.parser import BytesParser

from extauthz.core.body import read_body
from extauthz.core.call import Call
from extauthz.core.media import Media
from extauthz.core.reasons import Failure
from fuzz.requests import MAX_BYTES, size, texts
from fuzz.targets import require

_TYPE = "multipart/form-data; boundary=b"
_HEAD = b"content-type: multipart/form-data; boundary=b\r\n\r\n"
_ACCEPTED = frozenset({Media.MULTIPART})


def check(data: bytes) -> None:
    """As many parts as the mail parser sees, and each of its texts."""
    call = Call(method="POST", path="/", headers={"content-type": _TYPE}, body=data)
    tree = read_body(call, _ACCEPTED, MAX_BYTES)
    if isinstance(tree, Failure) or tree is None:
        return
    require(isinstance(tree, list), "a form is a list of parts")
    require(size(tree) <= 4 * len(data) + 256, "parts are no larger than the body")
    message = BytesParser(policy=policy.HTTP).parsebytes(_HEAD + data)
    theirs = [part for part in message.iter_parts() if part.get_content_disposition()]
    require(isinstance(tree, list) and len(theirs) <= len(tree), "no part is overlooked")
    ours = "\n".join(texts(tree))
    for part in theirs:
        name = part.get_param("name", header="content-disposition")
        require(not isinstance(name, str) or name in ours, "the name of a part is a text")
