"""Hands records to a Spillway agent over its Unix socket: copy this file, it needs only Python 3.8.

    with Client("/run/spillway/spillway.sock") as client:
        receipt = client.send_until_stored(Record("36.6", key="bed-7"))

Where there are no Unix sockets, over [listen.http]: `Client("http://127.0.0.1:9466", token=token)`.

A record has its id from the start, so sending the same `Record` again, after whatever error, never
makes it two. A `Client` may be used by all threads of a program, also after a fork; calls that are
under way at the same time have no order among them.
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import os
import random
import socket
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Type, TypeVar, Union

__all__ = ["Client", "Receipt", "Record", "Refused", "SpillwayError", "State", "TryLater", "Unanswered"]

# Seconds after which a refused line may pass; only whole requests are told by Retry-After.
_LATER_S = {
    "not_attempted": 0,
    "timeout": 0,
    "over_rate": 1,
    "overloaded": 1,
    "disk_failed": 5,
    "stopping": 5,
    "disk_full": 30,
}
# Refused whatever became of those before them in their order, or because of it.
_UNTRIED = ("not_attempted", "overloaded", "stopping")
_IDLE_MAX = 8
_BACKOFF_S = (0.2, 10.0)


@dataclass(frozen=True)
class Record:
    """What is stored. All but the body may be left out; text goes as it is, bytes as base64."""

    body: Union[str, bytes]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    key: Optional[str] = None
    lane: Optional[str] = None
    topic: Optional[str] = None
    tag: Optional[str] = None
    order_key: Optional[str] = None
    properties: Mapping[str, str] = field(default_factory=dict)
    traceparent: Optional[str] = None
    level: str = "disk"
    """`"broker"`: answered when RocketMQ has it, or after 30 s with the level reached."""

    def to_json(self) -> bytes:
        """The record as the agent reads it."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        if not isinstance(self.body, str):
            given["body_base64"] = base64.b64encode(given.pop("body")).decode()
        given["properties"] = dict(self.properties)
        return json.dumps(given, ensure_ascii=False).encode()


@dataclass(frozen=True)
class Receipt:
    """The record is stored. `duplicate`: it was already, as this number."""

    id: str
    key: str
    lane: str
    seq: int
    level: str
    duplicate: bool = False


@dataclass(frozen=True)
class State:
    """Where a record is: waiting, delivered, dead, expired, dropped, or unknown."""

    state: str
    lane: Optional[str] = None
    stream: Optional[str] = None
    seq: Optional[int] = None


class SpillwayError(Exception):
    """No receipt. `retry_after_s`: after how long sending again may help; `None`: never."""

    retry_after_s: Optional[float] = None


class Refused(SpillwayError):
    """Refused for good. `code` is for programs, `field` the field to blame, `message` for people."""

    def __init__(self, code: str, field: Optional[str], message: str) -> None:
        super().__init__(f"{code}: {field + ' ' if field else ''}{message}")
        self.code, self.field, self.message = code, field, message


class TryLater(SpillwayError):
    """Refused for now: over the rate, full, or stopping. The fields are those of `Refused`."""

    retry_after_s: float

    def __init__(self, code: str, field: Optional[str], message: str, retry_after_s: float) -> None:
        super().__init__(f"{code}: {field + ' ' if field else ''}{message}")
        self.code, self.field, self.message = code, field, message
        self.retry_after_s = retry_after_s


class Unanswered(SpillwayError):
    """No agent, or no answer from it: the record may be stored or not. Send the same one again."""

    retry_after_s: float = 0.0


Result = Union[Receipt, Refused, TryLater]
_T = TypeVar("_T")


class Client:
    """An agent's socket, or its `http://address:port` with a token. `timeout_s`: silence after which the agent counts as gone; the agent itself
    answers within 30 s. `on_wait` hears of each wait of the `..._until_stored`: the error, and seconds.
    """

    def __init__(
        self,
        path: str,
        timeout_s: float = 60.0,
        on_wait: Callable[[SpillwayError, float], None] = lambda error, seconds: None,
        token: Optional[str] = None,
    ) -> None:
        self._path, self._timeout_s, self._on_wait = path, timeout_s, on_wait
        self._token = token
        self._idle: List[_Connection] = []
        self._pid = os.getpid()

    def send(self, record: Record) -> Receipt:
        """Stores one record. Raises `Refused`, `TryLater`, `Unanswered`."""
        answer = self._exchange("POST", "/v1/records", "application/json", record.to_json())
        return _receipt(answer.json(), record)

    def send_many(self, records: Iterable[Record]) -> List[Result]:
        """Stores up to a few thousand records in one request: a result for each, in order.

        Behind a refused one, those of the same order are refused as `not_attempted`. Raises only
        where there is no result at all, or not for all: then send all of them again.
        """
        records = list(records)
        lines = b"".join(record.to_json() + b"\n" for record in records)
        answer = self._exchange("POST", "/v1/records", "application/x-ndjson", lines)
        found = answer.lines()
        if len(found) != len(records):
            raise Unanswered(f"{len(found)} answers to {len(records)} records")
        return [_result(line, record) for line, record in zip(found, records)]

    def send_until_stored(self, record: Record, give_up_after_s: float = math.inf) -> Receipt:
        """Stores one record, however often it has to be sent. Raises `Refused`, and the last error
        where the next attempt would come too late."""
        patience = _Patience(give_up_after_s, self._on_wait)
        while True:
            try:
                return self.send(record)
            except (TryLater, Unanswered) as error:
                patience.wait(error)

    def send_all_until_stored(
        self, records: Iterable[Record], give_up_after_s: float = math.inf
    ) -> List[Result]:
        """The same for many: for each a receipt, or `Refused`, or `TryLater` with the code
        `not_attempted`: behind a refused one of its order (the same order key, or the same lane where
        that may be one order), and only the app knows whether it may follow."""
        records = list(records)
        results: Dict[int, Result] = {}
        orders = _Orders(records)
        patience = _Patience(give_up_after_s, self._on_wait)
        left = list(range(len(records)))
        while left:
            try:
                answers = self.send_many(records[n] for n in left)
            except (TryLater, Unanswered) as error:
                patience.wait(error)
                continue
            results.update(zip(left, answers))
            later = orders.later(dict(zip(left, answers)))
            left = list(later)
            if later:
                patience.wait(max(later.values(), key=lambda error: error.retry_after_s))
        return [results[n] for n in range(len(records))]

    def state(self, id: str) -> State:
        """Where the record with this id is."""
        answer = self._exchange("GET", f"/v1/records/{urllib.parse.quote(id, safe='')}")
        return _made_of(State, answer.json())

    def state_of(self, lane: str, seq: int, stream: Optional[str] = None) -> State:
        """Where the record with this number is; without `stream`, in the current one."""
        asked = {"lane": lane, "seq": seq, **({"stream": stream} if stream else {})}
        query = urllib.parse.urlencode(asked, quote_via=urllib.parse.quote)
        return _made_of(State, self._exchange("GET", f"/v1/records?{query}").json())

    def status(self) -> Dict[str, Any]:
        """The agent's state, as `spillway status --json` prints it."""
        return self._exchange("GET", "/v1/status").json()

    def close(self) -> None:
        """Closes what is idle. The client can still be used."""
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, method: str, path: str, kind: str = "", body: bytes = b"") -> _Answer:
        """One request; on another connection where an idle one died, as all do with their agent."""
        if self._pid != os.getpid():
            self.close()  # The parent's own stay open.
            self._pid = os.getpid()
        while True:
            try:
                connection, used = self._idle.pop(), True
            except IndexError:
                connection, used = _Connection(self._path, self._timeout_s, self._token), False
            try:
                answer = connection.ask(method, path, kind, body)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if used and not isinstance(error, socket.timeout):
                    continue
                raise Unanswered(f"{self._path}: {error or type(error).__name__}") from error
            if connection.sock is not None and len(self._idle) < _IDLE_MAX:
                self._idle.append(connection)
            else:
                connection.close()
            if answer.status >= 300:
                raise answer.error()
            return answer


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket, or over TCP with a token."""

    def __init__(self, path: str, timeout_s: float, token: Optional[str]) -> None:
        url = urllib.parse.urlsplit(path) if path.startswith("http://") else None
        super().__init__(url.netloc if url else "agent", timeout=timeout_s)
        self._path, self._is_tcp = path, url is not None
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    def connect(self) -> None:
        if self._is_tcp:
            return super().connect()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def ask(self, method: str, path: str, kind: str, body: bytes) -> _Answer:
        try:
            headers = {**self._headers, **({"content-type": kind} if kind else {})}
            self.request(method, path, body or None, headers)
        except BrokenPipeError:
            pass  # A refusal may have come before all was read.
        response = self.getresponse()
        return _Answer(response.status, response.getheader("retry-after"), response.read())


@dataclass(frozen=True)
class _Answer:
    status: int
    retry_after: Optional[str]
    body: bytes

    def json(self) -> Dict[str, Any]:
        return _parse(self.body)

    def lines(self) -> List[Dict[str, Any]]:
        return [_parse(line) for line in self.body.splitlines()]

    def error(self) -> SpillwayError:
        return _refusal(self.json(), self.retry_after)


class _Patience:
    """How long to wait: what was asked for, and full jitter, so that those who were refused together
    do not come back together."""

    def __init__(self, give_up_after_s: float, on_wait: Callable[[SpillwayError, float], None]):
        self._end, self._on_wait = time.monotonic() + give_up_after_s, on_wait
        self._bound_s, self._bound_max_s = _BACKOFF_S

    def wait(self, error: SpillwayError) -> None:
        seconds = (error.retry_after_s or 0) + random.uniform(0, self._bound_s)
        self._bound_s = min(2 * self._bound_s, self._bound_max_s)
        if time.monotonic() + seconds > self._end:
            raise error
        self._on_wait(error, seconds)
        time.sleep(seconds)


class _Orders:
    """What was refused for good among many, or is left behind such a one: by its order key, and by
    its lane, which may be one order; both as the records say them. Records by their places."""

    def __init__(self, records: List[Record]):
        self._records = records
        self._keys: Dict[str, int] = {}
        self._lanes: Dict[Optional[str], int] = {}

    def later(self, answers: Dict[int, Result]) -> Dict[int, TryLater]:
        """Those that are to be sent again."""
        tried = {self._records[n].lane: n for n, answer in answers.items() if _was_tried(answer)}
        later = {}
        for n, answer in answers.items():
            if isinstance(answer, TryLater) and not (answer.code == "not_attempted" and self._is_behind(n)):
                later[n] = answer
            elif not isinstance(answer, Receipt):
                # Were the lane one order, none of it would be tried behind this one.
                self._note(n, is_lane=tried.get(self._records[n].lane, n) <= n)
        return later

    def _is_behind(self, n: int) -> bool:
        record = self._records[n]
        return self._keys.get(record.order_key or "", n) < n or self._lanes.get(record.lane, n) < n

    def _note(self, n: int, is_lane: bool) -> None:
        record = self._records[n]
        if record.order_key is not None:
            self._keys[record.order_key] = min(n, self._keys.get(record.order_key, n))
        if record.order_key is None or is_lane:
            self._lanes[record.lane] = min(n, self._lanes.get(record.lane, n))


def _was_tried(answer: Result) -> bool:
    return isinstance(answer, Receipt) or (
        isinstance(answer, TryLater) and answer.code not in _UNTRIED
    )


def _parse(text: bytes) -> Dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Unanswered(f"this is no agent's answer: {text[:80]!r}") from error
    if not isinstance(found, dict):
        raise Unanswered(f"this is no agent's answer: {text[:80]!r}")
    return found


def _made_of(kind: Type[_T], found: Dict[str, Any]) -> _T:
    """What a later agent says beyond this is passed over."""
    return kind(**{name: found[name] for name in kind.__annotations__ if name in found})


def _result(found: Dict[str, Any], record: Record) -> Result:
    return _refusal(found) if "error" in found else _receipt(found, record)


def _receipt(found: Dict[str, Any], record: Record) -> Receipt:
    if found.get("id") != record.id:
        raise Unanswered(f"an answer to {found.get('id')}, not to {record.id}")
    return _made_of(Receipt, found)


def _refusal(
    found: Dict[str, Any], retry_after: Optional[str] = None
) -> Union[Refused, TryLater]:
    error = found.get("error") or {}
    code, field = error.get("code", "unknown"), error.get("field")
    message = error.get("message", "no reason given; is this an agent's socket?")
    later_s = float(retry_after) if retry_after else _LATER_S.get(code)
    if later_s is None:
        return Refused(code, field, message)
    return TryLater(code, field, message, later_s)
