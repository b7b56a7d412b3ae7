"""One request and what became of it: while it is answered (`Exchange`), and as a line of the log (`LoggedRequest`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

_SECRETS = frozenset({"PublicKey", "Signature", "PrivateKey", "SecurityToken", "Password"})


class LoggedRequest(NamedTuple):
    """One request as it arrived, without keys and signatures."""

    #: Monotonic seconds, when the headers were in.
    at: float
    step: int
    account: str
    action: str
    project: str
    region: str
    zone: str
    #: 1 for the first request of its target in this step; 0 where the request did not get that far.
    attempt: int
    #: None where the answer had none (a fault of HTTP or of the connection).
    ret_code: int | None
    #: 0 where there was none: the connection was closed, or the client gave up.
    status: int
    request_uuid: str
    user_agent: str
    #: The rest of the parameters, flat.
    params: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Exchange:
    """What is known of a request while it is answered."""

    arrived: float
    step: int
    action: str
    request_uuid: str
    user_agent: str
    params: dict[str, Any]
    account: str = ""
    attempt: int = 0
    is_logged: bool = False

    def logged(self, ret_code: int | None, status: int) -> LoggedRequest:
        """Give the line of the log, without keys and signatures."""
        params = {name: str(value) for name, value in self.params.items() if name not in _SECRETS}
        return LoggedRequest(
            at=self.arrived,
            step=self.step,
            account=self.account,
            action=self.action,
            project=params.get("ProjectId", ""),
            region=params.get("Region", ""),
            zone=params.get("Zone", ""),
            attempt=self.attempt,
            ret_code=ret_code,
            status=status,
            request_uuid=self.request_uuid,
            user_agent=self.user_agent,
            params=params,
        )
