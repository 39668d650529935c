"""The shapes on the wire. Generated from schema/ by scripts/generate_types.py: do not edit."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Union

Code = Literal['invalid_json', 'invalid_topic', 'invalid_event', 'reserved_type', 'invalid_cursor', 'invalid_request', 'unauthenticated', 'forbidden', 'not_found', 'method_not_allowed', 'already_subscribed', 'producer_gap', 'producer_fenced', 'producer_unknown', 'message_owned', 'message_ended', 'id_conflict', 'too_large', 'too_many_events', 'unsupported_media_type', 'upgrade_required', 'rate_limited', 'too_many_subscriptions', 'too_many_open_messages', 'internal_error', 'storage_unavailable', 'outcome_unknown', 'draining']


TextKind = Literal['text', 'reasoning', 'tool_input']


GapReason = Literal['retention', 'memory']


ResetReason = Literal['epoch', 'ahead_of_head', 'bad_cursor', 'deleted']


Replay = Literal['raw', 'compact']


_TextPartRequired = TypedDict(
    '_TextPartRequired',
    {
        'part': int,
        'kind': TextKind,
        'text': str,
    },
)


class TextPart(_TextPartRequired, total=False):
    "The text of one (part, kind) of a message, in order of first appearance."

    omitted: int


_ProducerRequired = TypedDict(
    '_ProducerRequired',
    {
        'id': str,
        'epoch': int,
    },
)


class Producer(_ProducerRequired, total=False):
    "Who publishes, for publishing once. `seq` is required with events."

    seq: int


class AgentStatusData(TypedDict):
    "What an agent is doing. Further members are the publisher’s and are kept."

    status: str


class MemoryCreatedData(TypedDict):
    "Something is remembered. Further members are the publisher’s and are kept."

    memory_id: str


class MemoryDeletedData(TypedDict):
    "Something is forgotten. Further members are the publisher’s and are kept."

    memory_id: str


class MemoryUpdatedData(TypedDict):
    "What is remembered changed. Further members are the publisher’s and are kept."

    memory_id: str


_MessageCompletedDataRequired = TypedDict(
    '_MessageCompletedDataRequired',
    {
        'message_id': str,
    },
)


class MessageCompletedData(_MessageCompletedDataRequired, total=False):
    "The message ends, complete. Further members are the publisher’s and are kept."

    text: str
    finish_reason: str
    usage: Any


class MessageInterruptedData(TypedDict):
    "The message ends before it was complete. Further members are the publisher’s and are kept."

    message_id: str
    reason: str


_MessageStartedDataRequired = TypedDict(
    '_MessageStartedDataRequired',
    {
        'message_id': str,
    },
)


class MessageStartedData(_MessageStartedDataRequired, total=False):
    "A message begins. Optional: a first delta opens a message too. Further members are the publisher’s and are kept."

    role: str
    agent: str
    parent_id: str
    metadata: Any


_MessageSnapshotDataRequired = TypedDict(
    '_MessageSnapshotDataRequired',
    {
        'message_id': str,
        'parts': list[TextPart],
        'upto': int,
    },
)


class MessageSnapshotData(_MessageSnapshotDataRequired, total=False):
    "One open message as it stands after the event `upto`, from the broker to one reader. It replaces all the reader has of that message, but for what `omitted` says is missing: that the reader keeps."

    started: MessageStartedData
    source: str


_NavigationRequestedDataRequired = TypedDict(
    '_NavigationRequestedDataRequired',
    {
        'to': str,
    },
)


class NavigationRequestedData(_NavigationRequestedDataRequired, total=False):
    "The application moves the user somewhere. Further members are the publisher’s and are kept."

    params: Any
    replace: bool


class RunApproveData(TypedDict, total=False):
    "A client allows the agents of the topic what they asked for. Further members are the publisher’s and are kept."

    message_id: str


class RunCancelData(TypedDict, total=False):
    "A client asks the agents of the topic to stop. Further members are the publisher’s and are kept."

    message_id: str


class RunSteerData(TypedDict, total=False):
    "A client tells the agents of the topic something while they work. Further members are the publisher’s and are kept."

    message_id: str


_TokenDeltaDataRequired = TypedDict(
    '_TokenDeltaDataRequired',
    {
        'message_id': str,
        'text': str,
    },
)


class TokenDeltaData(_TokenDeltaDataRequired, total=False):
    "Adds text to a message, and opens it if nothing did. A delta with further members is never merged with others."

    kind: TextKind
    part: int


_ToolCompletedDataRequired = TypedDict(
    '_ToolCompletedDataRequired',
    {
        'call_id': str,
    },
)


class ToolCompletedData(_ToolCompletedDataRequired, total=False):
    "A tool has answered. Further members are the publisher’s and are kept."

    name: str


_ToolFailedDataRequired = TypedDict(
    '_ToolFailedDataRequired',
    {
        'call_id': str,
    },
)


class ToolFailedData(_ToolFailedDataRequired, total=False):
    "A tool did not answer. Further members are the publisher’s and are kept."

    name: str


_ToolStartedDataRequired = TypedDict(
    '_ToolStartedDataRequired',
    {
        'call_id': str,
    },
)


class ToolStartedData(_ToolStartedDataRequired, total=False):
    "A tool is called. Further members are the publisher’s and are kept."

    name: str


class WelcomeLimits(TypedDict):
    "What this connection may do."

    max_frame_bytes: int
    max_event_bytes: int
    max_batch_events: int
    max_subscriptions: int
    window_events: int
    window_bytes: int


class Welcome(TypedDict):
    "Always the first frame."

    op: Literal['welcome']
    session: str
    environment: str
    limits: WelcomeLimits
    ping_ms: int


_SubscribedTopicRequired = TypedDict(
    '_SubscribedTopicRequired',
    {
        'op': Literal['subscribed'],
        'topic': str,
        'epoch': str,
        'head': int,
        'position': Union[str, None],
        'resumed': bool,
    },
)


class SubscribedTopic(_SubscribedTopicRequired, total=False):
    "The reading of a topic begins; then `gap` or `reset` if one is owed, then events."

    id: Union[int, str]


_SubscribedPatternRequired = TypedDict(
    '_SubscribedPatternRequired',
    {
        'op': Literal['subscribed'],
        'pattern': str,
    },
)


class SubscribedPattern(_SubscribedPatternRequired, total=False):
    "The pattern holds from here on."

    id: Union[int, str]


Subscribed = Union[SubscribedTopic, SubscribedPattern]


_EventEnvelopeRequired = TypedDict(
    '_EventEnvelopeRequired',
    {
        'type': str,
        'time': int,
        'data': Any,
    },
)


class EventEnvelope(_EventEnvelopeRequired, total=False):
    "An event as a reader gets it in a WebSocket frame or a page of history, which name the topic around it."

    seq: int
    id: str
    source: str
    first_seq: int
    parts: list[TextPart]
    started: MessageStartedData


_EventsRequired = TypedDict(
    '_EventsRequired',
    {
        'op': Literal['events'],
        'topic': str,
        'epoch': str,
        'after': int,
        'upto': int,
        'events': list[EventEnvelope],
    },
)


class Events(_EventsRequired, total=False):
    "Moves the position of a topic from seq `after` to seq `upto` as a whole. They are equal where it only brings snapshots; `events` is empty where only the position moved."

    partial: Literal[True]


_GapMembers = TypedDict(
    '_GapMembers',
    {
        'op': Literal['gap'],
        'topic': str,
        'from': int,
        'to': int,
        'reason': GapReason,
    },
)


class Gap(_GapMembers):
    "The events `from` to `to` are gone. The position is `EPOCH:to~` after it."


class Reset(TypedDict):
    "Forget all you have of the topic. The position is `EPOCH:0~` after it."

    op: Literal['reset']
    topic: str
    epoch: str
    reason: ResetReason


_PublishedRequired = TypedDict(
    '_PublishedRequired',
    {
        'op': Literal['published'],
        'epoch': str,
        'first_seq': Union[int, None],
        'last_seq': Union[int, None],
        'duplicate': bool,
    },
)


class Published(_PublishedRequired, total=False):
    "The answer to `publish`: it is in the log."

    id: Union[int, str]


_AttachedRequired = TypedDict(
    '_AttachedRequired',
    {
        'op': Literal['attached'],
        'epoch': int,
    },
)


class Attached(_AttachedRequired, total=False):
    "The answer to `attach`."

    id: Union[int, str]


class Control(TypedDict):
    "Control events of a topic, in order. They move no position; each wants a `control_ack`."

    op: Literal['control']
    topic: str
    epoch: str
    events: list[EventEnvelope]


class Demand(TypedDict):
    "How many read a topic: at once after `attach`, a rise at once, a fall after 5 s."

    op: Literal['demand']
    topic: str
    readers: int


_UnsubscribedTopicRequired = TypedDict(
    '_UnsubscribedTopicRequired',
    {
        'op': Literal['unsubscribed'],
        'topic': str,
    },
)


class UnsubscribedTopic(_UnsubscribedTopicRequired, total=False):
    "The subscription of a topic is over: asked for, or (with `code` and `reason`) by the decision of the broker."

    id: Union[int, str]
    code: Code
    reason: str


_UnsubscribedPatternRequired = TypedDict(
    '_UnsubscribedPatternRequired',
    {
        'op': Literal['unsubscribed'],
        'pattern': str,
    },
)


class UnsubscribedPattern(_UnsubscribedPatternRequired, total=False):
    "The pattern and all it brought in are over: asked for, or (with `code` and `reason`) by the decision of the broker."

    id: Union[int, str]
    code: Code
    reason: str


Unsubscribed = Union[UnsubscribedTopic, UnsubscribedPattern]


_RefreshedRequired = TypedDict(
    '_RefreshedRequired',
    {
        'op': Literal['refreshed'],
        'expires_at': Union[int, None],
    },
)


class Refreshed(_RefreshedRequired, total=False):
    "The answer to `refresh`: from here on the new token counts."

    id: Union[int, str]


class Draining(TypedDict):
    "The broker is going to close the connection with 4503."

    op: Literal['draining']
    reconnect_after_ms: int


_ErrorRequired = TypedDict(
    '_ErrorRequired',
    {
        'code': Code,
        'message': str,
        'op': Literal['error'],
    },
)


class Error(_ErrorRequired, total=False):
    "A command was refused, or one topic of it. The connection lives on, unless a close follows."

    topic: str
    retry_after_ms: int
    expected_seq: int
    index: int
    indexes: list[int]
    field: str
    id: Union[int, str]


class Pong(TypedDict):
    "The answer to `ping`. It carries no `id`."

    op: Literal['pong']


From = Literal['snapshot', 'live', 'start']


_ClientTopicFromRequired = TypedDict(
    '_ClientTopicFromRequired',
    {
        'topic': str,
    },
)


_ClientTopicFromOptional = TypedDict(
    '_ClientTopicFromOptional',
    {
        'from': Union[From, str],
    },
    total=False,
)


class ClientTopicFrom(_ClientTopicFromRequired, _ClientTopicFromOptional):
    "A topic, and where its reading begins."


_ClientSubscribeRequired = TypedDict(
    '_ClientSubscribeRequired',
    {
        'op': Literal['subscribe'],
    },
)


_ClientSubscribeOptional = TypedDict(
    '_ClientSubscribeOptional',
    {
        'id': Union[int, str],
        'topic': str,
        'topics': list[ClientTopicFrom],
        'pattern': str,
        'from': Union[From, str],
        'cursor': str,
        'replay': Replay,
        'coalesce_ms': int,
        'types': list[str],
    },
    total=False,
)


class ClientSubscribe(_ClientSubscribeRequired, _ClientSubscribeOptional):
    "Read one topic, several, or all that match a pattern. One `subscribed` or one `error` for each topic."


_ClientUnsubscribeRequired = TypedDict(
    '_ClientUnsubscribeRequired',
    {
        'op': Literal['unsubscribe'],
    },
)


class ClientUnsubscribe(_ClientUnsubscribeRequired, total=False):
    "Read a topic no more, or all that a pattern brought in."

    id: Union[int, str]
    topic: str
    pattern: str


_EventToPublishRequired = TypedDict(
    '_EventToPublishRequired',
    {
        'type': str,
        'data': Any,
    },
)


class EventToPublish(_EventToPublishRequired, total=False):
    "An event as a publisher sends it: at most 256 KiB by default. Unknown members are ignored."

    id: str


_ClientPublishRequired = TypedDict(
    '_ClientPublishRequired',
    {
        'topic': str,
        'events': list[EventToPublish],
        'op': Literal['publish'],
    },
)


class ClientPublish(_ClientPublishRequired, total=False):
    "Publish a batch: whole or not at all. Answered by `published` or `error`."

    producer: Producer
    lease_ms: int
    id: Union[int, str]


_ClientAttachProducerRequired = TypedDict(
    '_ClientAttachProducerRequired',
    {
        'id': str,
    },
)


class ClientAttachProducer(_ClientAttachProducerRequired, total=False):
    "The producer that this connection is."

    epoch: int


_ClientAttachRequired = TypedDict(
    '_ClientAttachRequired',
    {
        'op': Literal['attach'],
        'producer': ClientAttachProducer,
    },
)


class ClientAttach(_ClientAttachRequired, total=False):
    "Be an agent on this connection: hold a lease, hear of readers and of control events. A further `attach` of the same producer adds topics."

    id: Union[int, str]
    lease_ms: int
    demand: list[str]
    control: list[str]


class ClientControlAck(TypedDict):
    "One control event was dealt with: it is not delivered again."

    op: Literal['control_ack']
    topic: str
    seq: int


_ClientRefreshRequired = TypedDict(
    '_ClientRefreshRequired',
    {
        'op': Literal['refresh'],
        'token': str,
    },
)


class ClientRefresh(_ClientRefreshRequired, total=False):
    "Give a token: a new one of the same subject, or the first on a connection that came without one."

    id: Union[int, str]


class ClientPing(TypedDict):
    "Is anybody there? For clients that cannot send WebSocket pings. Answered by `pong`."

    op: Literal['ping']


ServerFrame = Union[Welcome, Subscribed, Events, Gap, Reset, Published, Attached, Control, Demand, Unsubscribed, Refreshed, Draining, Error, Pong]

ClientFrame = Union[ClientSubscribe, ClientUnsubscribe, ClientPublish, ClientAttach, ClientControlAck, ClientRefresh, ClientPing]

#: The types that the broker knows and checks.
BUILT_IN_TYPES = frozenset({'agent.status', 'memory.created', 'memory.deleted', 'memory.updated', 'message.completed', 'message.interrupted', 'message.snapshot', 'message.started', 'navigation.requested', 'run.approve', 'run.cancel', 'run.steer', 'token.delta', 'tool.completed', 'tool.failed', 'tool.started'})

#: For each frame of the broker: the members that it must have, and those that it may have.
_Members = dict[str, tuple[type, ...]]
SERVER_FRAMES: dict[str, tuple[_Members, _Members]] = {
    'welcome': ({'session': (str,), 'environment': (str,), 'limits': (dict,), 'ping_ms': (int,)}, {}),
    'subscribed': ({}, {'id': (int, str,), 'topic': (str,), 'epoch': (str,), 'head': (int,), 'position': (str, type(None),), 'resumed': (bool,), 'pattern': (str,)}),
    'events': ({'topic': (str,), 'epoch': (str,), 'after': (int,), 'upto': (int,), 'events': (list,)}, {'partial': (bool,)}),
    'gap': ({'topic': (str,), 'from': (int,), 'to': (int,), 'reason': (str,)}, {}),
    'reset': ({'topic': (str,), 'epoch': (str,), 'reason': (str,)}, {}),
    'published': ({'epoch': (str,), 'first_seq': (int, type(None),), 'last_seq': (int, type(None),), 'duplicate': (bool,)}, {'id': (int, str,)}),
    'attached': ({'epoch': (int,)}, {'id': (int, str,)}),
    'control': ({'topic': (str,), 'epoch': (str,), 'events': (list,)}, {}),
    'demand': ({'topic': (str,), 'readers': (int,)}, {}),
    'unsubscribed': ({}, {'id': (int, str,), 'code': (str,), 'reason': (str,), 'topic': (str,), 'pattern': (str,)}),
    'refreshed': ({'expires_at': (int, type(None),)}, {'id': (int, str,)}),
    'draining': ({'reconnect_after_ms': (int,)}, {}),
    'error': ({'code': (str,), 'message': (str,)}, {'topic': (str,), 'retry_after_ms': (int,), 'expected_seq': (int,), 'index': (int,), 'indexes': (list,), 'field': (str,), 'id': (int, str,)}),
    'pong': ({}, {}),
}
