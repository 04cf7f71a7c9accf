"""Who is asked and who is told while a rollout goes on: webhooks, of the eight types that Flagger has."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, model_validator

from config.listeners.access import EnvName
from config.values.certificates import FileAt
from config.values.durations import duration
from config.values.names import Name, Text
from config.values.numbers import whole
from config.values.problems import Finding
from config.values.section import SECRET, OneKey, Parsed, Section, refusal, refusals

WebhookType = Literal[
    "confirm-rollout",
    "pre-rollout",
    "rollout",
    "confirm-traffic-increase",
    "confirm-promotion",
    "post-rollout",
    "rollback",
    "event",
]
TOLD: Final[frozenset[str]] = frozenset({"post-rollout", "event"})
"""Types that are told what happened; all others are asked."""
_WANTED: Final = "write http or https, a host and a path, such as https://hooks.example.com/understudy"


def _url(value: object) -> str:
    """What is refused is not shown: addresses of webhooks are often secrets themselves."""
    if not isinstance(value, str) or len(value) > 2048 or re.search(r"[\x00-\x20\x7f]", value):
        raise refusal("is not a URL", _WANTED)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise refusal("is not a URL", _WANTED) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise refusal("is not a URL of http or https with a host", _WANTED)
    if parts.username is not None or parts.password is not None:
        raise refusal("has a user name", "take it away, and let the receiver check the signature: give a `secret`")
    if parts.fragment:
        raise refusal("has a fragment, which is never sent", "take away what follows #")
    if _is_link_local(parts.hostname):
        raise refusal("is link-local: clouds answer there with credentials", "name a receiver of your own")
    return value


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False


class WebhookSecret(OneKey):
    """The key that requests are signed with: exactly one of these says where it is. It is read at every request, so
    that it can be changed without a restart."""

    model_config = ConfigDict(title="secret of a webhook")

    env: EnvName | None = None
    """The environment variable of Understudy that has it."""

    file: FileAt | None = Field(None, examples=["/etc/understudy/webhook-key"])
    """The file that has it; white space around it does not count."""


class WebhookRetries(Section):
    """How often a webhook is tried that cannot be reached, or answers 408, 425, 429 or 500 and above. The wait before
    each further attempt is drawn at random from a span that doubles."""

    attempts: Annotated[int, whole(0, 10)] = 2
    """Further attempts of one question; after the last one what came of it is the answer, until the question is asked
    again. What is told (post-rollout, event) is tried until `giveUpAfter`, whatever the receiver answers but 2xx."""

    base_interval: Annotated[float, duration(0.01, 60)] = 0.5
    """The span before the first further attempt."""

    max_interval: Annotated[float, duration(0.01, 3600)] = 30.0
    """The longest span."""

    give_up_after: Annotated[float, duration(1, 7 * 86_400)] = 3600.0
    """How long it is tried to tell something. What could not be told by then is given up, which log, journal and
    metrics say."""


class Receiver(Section):
    """A receiver of HTTP POST requests: where it is, and how it is reached."""

    url: Annotated[
        str, Parsed(_url, str, {"type": "string", "title": "URL, http or https", "pattern": "^https?://", **SECRET})
    ] = Field(examples=["https://hooks.example.com/understudy"])
    """Where it is sent. It is kept out of logs, and is masked where the configuration is shown: of some services it is
    all that a sender needs. Redirects are not followed."""

    timeout: Annotated[float, duration(0.1, 300)] = 10.0
    """How long the receiver may take to answer one request."""

    retries: WebhookRetries = WebhookRetries()
    """How often it is tried."""

    secret: WebhookSecret | None = None
    """The key that requests are signed with, in the header field x-understudy-signature. Without it they are not."""

    metadata: dict[str, Text] = Field(default={}, max_length=64)
    """What is sent along, word for word. Secrets do not belong here."""


class Webhook(Receiver):
    """A receiver of HTTP POST requests that has a say in a rollout, or is told of it.

    2xx is yes, everything else is no, and so is silence. A question that waits for a yes never keeps the candidate:
    harm that is proven aborts all the while.
    """

    name: Name = Field(examples=["approval"])
    """What status, journal and metrics call it."""

    type: WebhookType = Field(examples=["confirm-promotion"])
    """confirm-rollout: asked before the rollout begins; until yes the candidate gets nothing. pre-rollout: asked after
    that, before the candidate gets anything, such as for tests. rollout: asked every `interval`; without yes no step is
    taken and nothing is promoted. confirm-traffic-increase: asked before each higher weight. confirm-promotion: asked
    when everything else speaks for the promotion. rollback: asked every `interval`; yes aborts. post-rollout: told that
    the rollout has ended, and how. event: told of every entry in the route's journal."""

    interval: Annotated[float, duration(1, 3600)] = 10.0
    """How long after an answer the question is asked again: as long as the rollout waits for it, and of types rollout
    and rollback as long as it goes on."""

    abort_after: Annotated[int, whole(1, 10_000)] | None = None
    """Of type rollout: aborts after so many answers in a row that are not yes. Without it such answers only hold the
    rollout up."""

    format: Literal["json", "slack"] = "json"
    """json: all that is known, with the keys of Flagger among it. slack: a message as Slack, Mattermost and
    Rocket.Chat take it at an incoming webhook; for post-rollout and event."""

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        found = []
        if self.abort_after is not None and self.type != "rollout":
            found.append(Finding(("abortAfter",), f"means nothing to a webhook of type {self.type}", "take it away"))
        if self.format == "slack" and not self.told:
            remedy = "take it away, or make the type post-rollout or event"
            found.append(Finding(("format",), f"{self.type} is a question, which a chat does not answer", remedy))
        if found:
            raise refusals(*found)
        return self

    @property
    def told(self) -> bool:
        """Whether it is told what happened, rather than asked."""
        return self.type in TOLD

    def facts(self) -> dict[str, Any]:
        """What identifies it: answers of another webhook of the same name are not its own."""
        return self.model_dump(mode="json", by_alias=True)
