// Generated from schema/ by scripts/generate-types.mjs: change the schemas and run `npm run generate`.
// Integers of 64 bits are `number`: no topic reaches 2^53 events.

/** A topic: `/` and 1 to 8 segments joined by `/`. A segment is 1 to 128 of `A-Z a-z 0-9 . _ : ~ -`, never `.` or `..`. */
export type TypesTopic = string;

/** Many topics: a path whose last segment is `*` (one segment) or `**` (one or more). 1 to 8 segments. */
export type TypesPattern = string;

/** The identity of one life of a topic's log: 8 to 32 characters, opaque. `00000000`: the topic does not exist. */
export type TypesEpoch = string;

/** The number of an event in its topic: 1, 2, 3 … without holes. Read it as a 64-bit integer. */
export type TypesSeq = number;

/** The seq of the topic's last event; 0 if there is none. */
export type TypesHead = number;

/** `EPOCH:SEQ`, the last event a reader has; with `~` at its end it is partial: the reader lacks the beginning of open messages. */
export type TypesPosition = string;

/** The `id:` of a server-sent event: a position (a stream of one topic) or an opaque text of at most 4096 bytes (several). One that cannot be read resets every topic that it was given for; it is never refused. */
export type TypesCursor = string;

/** Where to begin: `snapshot` (open messages, then what comes), `live` (only what comes), `start` (all that is kept), `last:N` (the last N entries), or a position (what comes after it). */
export type TypesFrom = (("snapshot" | "live" | "start") | string | TypesPosition);

/** How to catch up: `raw` gives the entries of the log as they are, `compact` costs what the text costs. */
export type TypesReplay = ("raw" | "compact");

/** Milliseconds for which token deltas gather before they come as one. 0: each by itself. Others than 0, 20, 40, 100, 250, 500 and 1000 round up, above 1000 down to it. */
export type TypesCoalesceMs = number;

/** Which types to read: 1 to 32 of `a.b` (exactly this), `a.*` (all below, at any depth), `*` (all). */
export type TypesTypes = TypesTypePattern[];

/** One pattern of a filter: at most 128 characters. */
export type TypesTypePattern = string;

/** The type of an event: 1 to 128 of `A-Z a-z 0-9 _ - .` in at least two dotted segments, none of them empty; or `event`, for a bare payload. */
export type TypesEventType = string;

/** 1 to 128 characters, no control characters. */
export type TypesId = string;

/** Unix milliseconds by the broker's clock. It can step back; order by `seq`. */
export type TypesTime = number;

/** Who published: the subject of its token or the name of its API key; where nobody was asked for one, the producer id. Absent where there was none. A publisher cannot set it. */
export type TypesSource = string;

/** What kind of text it is. */
export type TypesTextKind = ("text" | "reasoning" | "tool_input");

/** Which text of its kind in the message. */
export type TypesPart = number;

/** The text of one (part, kind) of a message, in order of first appearance. */
export type TypesTextPart = {
  part: TypesPart;
  kind: TypesTextKind;
  /** The text; less its first `omitted` bytes. */
  text: string;
  /** So many bytes (UTF-8) are missing at the beginning of this text. Absent: none. */
  omitted?: number;
};

/** Chosen by the client, echoed in the answer: an integer of 64 bits, or at most 64 characters. */
export type TypesCommandId = (number | string);

/** Names the publishing process, and becomes the `source` of its events. */
export type TypesProducerId = TypesId;

/** The number of this run of the producer, higher than that of the run before. It fences older runs. */
export type TypesProducerEpoch = number;

/** Who publishes, for publishing once. `seq` is required with events. */
export type TypesProducer = {
  id: TypesProducerId;
  epoch: TypesProducerEpoch;
  /** Counts the publishes (not the events) of this producer to this topic in this epoch, from 1. */
  seq?: number;
};

/** Milliseconds that a producer may be silent before its open messages are ended for it. */
export type TypesLeaseMs = number;

/** `retention`: the topic's own bounds; `memory`: the bound on all topics. */
export type TypesGapReason = ("retention" | "memory");

/** `epoch`: the position is of another life of the log; `ahead_of_head`: it is beyond the last event; `bad_cursor`: the cursor could not be read; `deleted`: the topic was erased. */
export type TypesResetReason = ("epoch" | "ahead_of_head" | "bad_cursor" | "deleted");

/** Subscriptions that admit `token.delta`, and long polls for their `wait_ms` and 30 s. */
export type TypesReaders = number;

/** What went wrong, for programs. Stable. */
export type TypesCode = ("invalid_json" | "invalid_topic" | "invalid_event" | "reserved_type" | "invalid_cursor" | "invalid_request" | "unauthenticated" | "forbidden" | "not_found" | "method_not_allowed" | "already_subscribed" | "producer_gap" | "producer_fenced" | "producer_unknown" | "message_owned" | "message_ended" | "id_conflict" | "too_large" | "too_many_events" | "unsupported_media_type" | "upgrade_required" | "rate_limited" | "too_many_subscriptions" | "too_many_open_messages" | "internal_error" | "storage_unavailable" | "outcome_unknown" | "draining");

/** What a refusal tells a program, the same over HTTP and over a WebSocket. */
export type TypesProblemMembers = {
  code: TypesCode;
  /** What was wrong with which input, and what to do. For people: the words may change. */
  message: string;
  /** The topic it is about, as it was given; at most 80 characters of it and `…`. */
  topic?: string;
  /** Milliseconds after which to try again. */
  retry_after_ms?: number;
  /** With `producer_gap`: the producer seq that comes next. */
  expected_seq?: number;
  /** Which event of the batch, from 0. */
  index?: number;
  /** With `id_conflict`: which events of the batch have ids that are known, from 0, in order. */
  indexes?: number[];
  /** Which member or parameter is wrong. */
  field?: string;
};

/** What an agent is doing. Further members are the publisher’s and are kept. */
export type EventsAgentStatus = {
  /** Such as `thinking`. */
  status: string;
};

/** An event as a reader gets it, where the frame or page around it names the topic. */
export type EventsEnvelope = EventsEnvelopeInFrame;

/** An event as a reader gets it in a WebSocket frame or a page of history, which name the topic around it. */
export type EventsEnvelopeInFrame = {
  [member: string]: unknown;
} & (EventsEnvelopeEntry | EventsEnvelopeCompactEnd | EventsEnvelopeMerge | EventsEnvelopeSnapshot);

/** An event as a reader gets it in a server-sent event: with its topic. */
export type EventsEnvelopeWithTopic = {
  topic: TypesTopic;
} & (EventsEnvelopeEntry | EventsEnvelopeCompactEnd | EventsEnvelopeMerge | EventsEnvelopeSnapshot);

/** One entry of the log. */
export type EventsEnvelopeEntry = {
  seq: TypesSeq;
  type: TypesEventType;
  /** The publisher's own id for the event, if it gave one. */
  id?: TypesId;
  time: TypesTime;
  source?: TypesSource;
  /** Any JSON value, as it was published, byte for byte. */
  data: unknown;
} & EventsEnvelopeDataByType;

/** An end event in compact reading: the whole message in one event. `parts` replaces all the reader has of the message. */
export type EventsEnvelopeCompactEnd = {
  /** How the message ended. */
  type: ("message.completed" | "message.interrupted");
  /** The whole text of the message: one entry for each (part, kind), in order of first appearance. */
  parts: TypesTextPart[];
  /** The `data` of `message.started`, if there was one. */
  started?: EventsMessageStarted;
} & EventsEnvelopeEntry;

/** Token deltas of consecutive seqs, `first_seq` to `seq`, with their texts joined and the last one's `time`. Deltas with an `id` or further members are never merged. */
export type EventsEnvelopeMerge = {
  /** The seq of the first delta in it. */
  first_seq: TypesSeq;
  /** Only deltas are merged. */
  type: "token.delta";
  data?: EventsTokenDelta;
} & EventsEnvelopeEntry;

/** A fold sent to one reader. It is no entry of the log and has no seq. */
export type EventsEnvelopeSnapshot = {
  /** Only the broker sends it. */
  type: "message.snapshot";
  /** The time of the message's last event, in Unix milliseconds. */
  time: TypesTime;
  data: EventsMessageSnapshot;
};

/** An event as a publisher sends it: at most 256 KiB by default. Unknown members are ignored. */
export type EventsEnvelopeNew = {
  type: TypesEventType;
  /** Any JSON value, `null` included. At most 96 levels deep; no lone surrogate; numbers within i64, u64 or finite f64. */
  data: unknown;
  /** Your own id for the event: repeated with the same id it is in the log once. */
  id?: TypesId;
} & EventsEnvelopeDataByType;

/** Types that only the broker may use. */
export type EventsEnvelopeReservedType = unknown;

/** The data of a built-in type is as its file says. Any other name is yours, with any JSON as its data. */
export type EventsEnvelopeDataByType = unknown;

/** Something is remembered. Further members are the publisher’s and are kept. */
export type EventsMemoryCreated = {
  /** Which memory. */
  memory_id: string;
};

/** Something is forgotten. Further members are the publisher’s and are kept. */
export type EventsMemoryDeleted = {
  /** Which memory. */
  memory_id: string;
};

/** What is remembered changed. Further members are the publisher’s and are kept. */
export type EventsMemoryUpdated = {
  /** Which memory. */
  memory_id: string;
};

/** The message ends, complete. Further members are the publisher’s and are kept. */
export type EventsMessageCompleted = {
  /** The message. */
  message_id: TypesId;
  /** The whole answer. If present it replaces all parts of kind `text`. */
  text?: string;
  /** Why it ended, such as `stop`. The broker does not check it. */
  finish_reason?: string;
  /** What it cost. The broker does not check it. */
  usage?: unknown;
};

/** The message ends before it was complete. Further members are the publisher’s and are kept. */
export type EventsMessageInterrupted = {
  /** The message. */
  message_id: TypesId;
  /** `agent_lost`, `timeout` and `replaced` come from the broker; `cancelled`, `error` and others from agents. */
  reason: string;
};

/** One open message as it stands after the event `upto`, from the broker to one reader. It replaces all the reader has of that message, but for what `omitted` says is missing: that the reader keeps. */
export type EventsMessageSnapshot = {
  /** The message. */
  message_id: TypesId;
  /** One entry for each (part, kind), in order of first appearance. */
  parts: TypesTextPart[];
  /** The `data` of `message.started`, if there was one. */
  started?: EventsMessageStarted;
  /** Who writes the message, if known. */
  source?: TypesSource;
  /** The seq up to which it holds. */
  upto: TypesSeq;
};

/** A message begins. Optional: a first delta opens a message too. Further members are the publisher’s and are kept. */
export type EventsMessageStarted = {
  /** The message. */
  message_id: TypesId;
  /** Who speaks, such as `assistant`. The broker does not check it. */
  role?: string;
  /** Which agent speaks. The broker does not check it. */
  agent?: string;
  /** The message that it answers. The broker does not check it. */
  parent_id?: string;
  /** Anything. The broker does not check it. */
  metadata?: unknown;
};

/** The application moves the user somewhere. Further members are the publisher’s and are kept. */
export type EventsNavigationRequested = {
  /** Where to: a path or a name of the application. */
  to: string;
  /** What goes with it. The broker does not check it. */
  params?: unknown;
  /** Whether the place takes the place of the one before in the history. The broker does not check it. */
  replace?: boolean;
};

/** A client allows the agents of the topic what they asked for. Further members are the publisher’s and are kept. */
export type EventsRunApprove = {
  /** The message that it is about. Absent: the whole run. */
  message_id?: TypesId;
};

/** A client asks the agents of the topic to stop. Further members are the publisher’s and are kept. */
export type EventsRunCancel = {
  /** The message that it is about. Absent: the whole run. */
  message_id?: TypesId;
};

/** A client tells the agents of the topic something while they work. Further members are the publisher’s and are kept. */
export type EventsRunSteer = {
  /** The message that it is about. Absent: the whole run. */
  message_id?: TypesId;
};

/** Adds text to a message, and opens it if nothing did. A delta with further members is never merged with others. */
export type EventsTokenDelta = {
  /** The message. */
  message_id: TypesId;
  /** The text to add; may be empty. */
  text: string;
  /** What kind of text it is. Absent: `text`. */
  kind?: TypesTextKind;
  /** Which text of its kind in the message. Absent: 0. */
  part?: TypesPart;
};

/** A tool has answered. Further members are the publisher’s and are kept. */
export type EventsToolCompleted = {
  /** Which call. */
  call_id: string;
  /** The name of the tool. The broker does not check it. */
  name?: string;
};

/** A tool did not answer. Further members are the publisher’s and are kept. */
export type EventsToolFailed = {
  /** Which call. */
  call_id: string;
  /** The name of the tool. The broker does not check it. */
  name?: string;
};

/** A tool is called. Further members are the publisher’s and are kept. */
export type EventsToolStarted = {
  /** Which call. */
  call_id: string;
  /** The name of the tool. The broker does not check it. */
  name?: string;
};

/** What a client sends over the WebSocket `/v1/ws` (subprotocol `tidewire.v1.json`): one object a text frame, at most 1 MiB by default. The broker ignores members that it does not know. */
export type FramesClient = (FramesClientSubscribe | FramesClientUnsubscribe | FramesClientPublish | FramesClientAttach | FramesClientControlAck | FramesClientRefresh | FramesClientPing);

/** Read one topic, several, or all that match a pattern. One `subscribed` or one `error` for each topic. */
export type FramesClientSubscribe = {
  /** What the frame is. */
  op: "subscribe";
  id?: TypesCommandId;
  topic?: TypesTopic;
  /** Several topics, at least one. Beside a `pattern`: topics that were read before, each with its position as `from`. */
  topics?: FramesClientTopicFrom[];
  /** All topics that match, up to 1,000, now and as they appear. */
  pattern?: TypesPattern;
  /** Where to begin, for topics without their own. Absent: `snapshot`. */
  from?: TypesFrom;
  /** The last `id:` of a stream of server-sent events, for topics without a `from` of their own. */
  cursor?: TypesCursor;
  /** How to catch up. Absent: `raw`. */
  replay?: TypesReplay;
  coalesce_ms?: TypesCoalesceMs;
  /** Which types to read. Absent: all. */
  types?: TypesTypes;
};

/** Read a topic no more, or all that a pattern brought in. */
export type FramesClientUnsubscribe = {
  /** What the frame is. */
  op: "unsubscribe";
  id?: TypesCommandId;
  topic?: TypesTopic;
  /** The pattern as it was subscribed. */
  pattern?: TypesPattern;
};

/** Publish a batch: whole or not at all. Answered by `published` or `error`. */
export type FramesClientPublish = {
  /** What the frame is. */
  op: "publish";
  id?: TypesCommandId;
} & HttpPublish;

/** Be an agent on this connection: hold a lease, hear of readers and of control events. A further `attach` of the same producer adds topics. */
export type FramesClientAttach = {
  /** What the frame is. */
  op: "attach";
  id?: TypesCommandId;
  /** The producer that this connection is. */
  producer: {
    id: TypesProducerId;
    /** The number of this run. Absent: the broker gives the last one plus 1. */
    epoch?: TypesProducerEpoch;
  };
  /** Milliseconds after the connection dropped until the open messages are ended. Absent: 15000. */
  lease_ms?: TypesLeaseMs;
  /** Topics whose number of readers to tell. At most 1,000. */
  demand?: TypesTopic[];
  /** Topics whose `run.*` events to deliver. At most 1,000. */
  control?: TypesTopic[];
};

/** One control event was dealt with: it is not delivered again. */
export type FramesClientControlAck = {
  /** What the frame is. */
  op: "control_ack";
  topic: TypesTopic;
  /** The control event. */
  seq: TypesSeq;
};

/** Give a token: a new one of the same subject, or the first on a connection that came without one. */
export type FramesClientRefresh = {
  /** What the frame is. */
  op: "refresh";
  id?: TypesCommandId;
  /** A JSON Web Token or an API key. */
  token: string;
};

/** Is anybody there? For clients that cannot send WebSocket pings. Answered by `pong`. */
export type FramesClientPing = {
  /** What the frame is. */
  op: "ping";
};

/** A topic, and where its reading begins. */
export type FramesClientTopicFrom = {
  topic: TypesTopic;
  /** Where this one begins. Absent: by `cursor`, else by the `from` beside the list. */
  from?: TypesFrom;
};

/** What the broker sends over the WebSocket `/v1/ws` (subprotocol `tidewire.v1.json`): one object a text frame. */
export type FramesServer = (FramesServerWelcome | FramesServerSubscribed | FramesServerEvents | FramesServerGap | FramesServerReset | FramesServerPublished | FramesServerAttached | FramesServerControl | FramesServerDemand | FramesServerUnsubscribed | FramesServerRefreshed | FramesServerDraining | FramesServerError | FramesServerPong);

/** Always the first frame. */
export type FramesServerWelcome = {
  /** What the frame is. */
  op: "welcome";
  /** Names the connection in the broker's log. */
  session: string;
  /** The name of the deployment: 1 to 32 of `A-Z a-z 0-9 _ -`. */
  environment: string;
  /** What this connection may do. */
  limits: {
    /** Bytes of one message from the client. */
    max_frame_bytes: number;
    /** Bytes of one event. */
    max_event_bytes: number;
    /** Events in one publish. */
    max_batch_events: number;
    /** Topics on this connection. */
    max_subscriptions: number;
    /** Published events without an answer, beyond which the connection is not read further. */
    window_events: number;
    /** Published bytes without an answer, beyond which the connection is not read further. */
    window_bytes: number;
  };
  /** Milliseconds of silence after which the broker sends a ping; it closes after 2.5 times that. */
  ping_ms: number;
};

/** The answer to `subscribe`: one for each topic (without `id` where a pattern brought it in), or one for the pattern itself. */
export type FramesServerSubscribed = (FramesServerSubscribedTopic | FramesServerSubscribedPattern);

/** Moves the position of a topic from seq `after` to seq `upto` as a whole. They are equal where it only brings snapshots; `events` is empty where only the position moved. */
export type FramesServerEvents = {
  /** What the frame is. */
  op: "events";
  topic: TypesTopic;
  epoch: TypesEpoch;
  /** The seq where the reader stands. */
  after: TypesHead;
  /** The seq where the reader stands after it. */
  upto: TypesHead;
  /** Present if the position is partial there. */
  partial?: true;
  /** In the order of the topic. */
  events: EventsEnvelopeInFrame[];
};

/** The events `from` to `to` are gone. The position is `EPOCH:to~` after it. */
export type FramesServerGap = {
  /** What the frame is. */
  op: "gap";
  topic: TypesTopic;
  /** The first one that is gone. */
  from: TypesSeq;
  /** The last one that is gone. */
  to: TypesSeq;
  reason: TypesGapReason;
};

/** Forget all you have of the topic. The position is `EPOCH:0~` after it. */
export type FramesServerReset = {
  /** What the frame is. */
  op: "reset";
  topic: TypesTopic;
  epoch: TypesEpoch;
  reason: TypesResetReason;
};

/** The answer to `publish`: it is in the log. */
export type FramesServerPublished = {
  /** What the frame is. */
  op: "published";
  id?: TypesCommandId;
  epoch: TypesEpoch;
  /** The seq of the first event; `null` where nothing was to be kept or the answer is forgotten. */
  first_seq: (TypesSeq | null);
  /** The seq of the last event; `null` as `first_seq`. */
  last_seq: (TypesSeq | null);
  /** It was in the log before; this is the first answer again. */
  duplicate: boolean;
};

/** The answer to `attach`. */
export type FramesServerAttached = {
  /** What the frame is. */
  op: "attached";
  id?: TypesCommandId;
  /** The number of this run: as it was given, or as the broker gave it. */
  epoch: TypesProducerEpoch;
};

/** Control events of a topic, in order. They move no position; each wants a `control_ack`. */
export type FramesServerControl = {
  /** What the frame is. */
  op: "control";
  topic: TypesTopic;
  epoch: TypesEpoch;
  /** `run.*` events. */
  events: EventsEnvelopeInFrame & {
    /** A control event: `run.cancel`, `run.steer`, `run.approve`, or a `run.*` of the application's own. */
    type?: unknown;
  }[];
};

/** How many read a topic: at once after `attach`, a rise at once, a fall after 5 s. */
export type FramesServerDemand = {
  /** What the frame is. */
  op: "demand";
  topic: TypesTopic;
  readers: TypesReaders;
};

/** No frame of the topic, or of what the pattern brought in, comes after it. */
export type FramesServerUnsubscribed = (FramesServerUnsubscribedTopic | FramesServerUnsubscribedPattern);

/** The answer to `refresh`: from here on the new token counts. */
export type FramesServerRefreshed = {
  /** What the frame is. */
  op: "refreshed";
  id?: TypesCommandId;
  /** When the rights end, in Unix milliseconds; `null`: never (an API key without an end, or a broker that asks nobody). */
  expires_at: (TypesTime | null);
};

/** The broker is going to close the connection with 4503. */
export type FramesServerDraining = {
  /** What the frame is. */
  op: "draining";
  /** Milliseconds after the close to wait before coming back. */
  reconnect_after_ms: number;
};

/** A command was refused, or one topic of it. The connection lives on, unless a close follows. */
export type FramesServerError = {
  /** What the frame is. */
  op: "error";
  id?: TypesCommandId;
} & TypesProblemMembers;

/** The answer to `ping`. It carries no `id`. */
export type FramesServerPong = {
  /** What the frame is. */
  op: "pong";
};

/** The reading of a topic begins; then `gap` or `reset` if one is owed, then events. */
export type FramesServerSubscribedTopic = {
  /** What the frame is. */
  op: "subscribed";
  id?: TypesCommandId;
  topic: TypesTopic;
  epoch: TypesEpoch;
  head: TypesHead;
  /** Where this reading begins. `null` if a `reset` follows: keep your own until it comes. */
  position: (TypesPosition | null);
  /** A position was given, and neither `gap` nor `reset` follows. */
  resumed: boolean;
};

/** The pattern holds from here on. */
export type FramesServerSubscribedPattern = {
  /** What the frame is. */
  op: "subscribed";
  id?: TypesCommandId;
  pattern: TypesPattern;
};

/** The subscription of a topic is over: asked for, or (with `code` and `reason`) by the decision of the broker. */
export type FramesServerUnsubscribedTopic = {
  /** What the frame is. */
  op: "unsubscribed";
  id?: TypesCommandId;
  topic: TypesTopic;
  /** Why, if it was not asked for. */
  code?: TypesCode;
  /** Why, for people. */
  reason?: string;
};

/** The pattern and all it brought in are over: asked for, or (with `code` and `reason`) by the decision of the broker. */
export type FramesServerUnsubscribedPattern = {
  /** What the frame is. */
  op: "unsubscribed";
  id?: TypesCommandId;
  pattern: TypesPattern;
  /** Why, if it was not asked for. */
  code?: TypesCode;
  /** Why, for people. */
  reason?: string;
};

/** The `data:` of the blocks whose `event:` begins with `tidewire.`. All other blocks carry an event: ../events/envelope.json#/$defs/with_topic. */
export type SseBlocks = (SseBlocksTidewireReady | SseBlocksTidewireGap | SseBlocksTidewireReset | SseBlocksTidewirePosition | SseBlocksTidewireDraining | SseBlocksTidewireExpired);

/** Always the first block. */
export type SseBlocksTidewireReady = {
  /** The name of the block, also where `event:` is left out. */
  type: "tidewire.ready";
  /** One for each topic of the stream, up to 100. */
  topics: {
    topic: TypesTopic;
    epoch: TypesEpoch;
    head: TypesHead;
    /** Where this reading begins. `null` if a `reset` follows: keep your own until it comes. */
    position: (TypesPosition | null);
    /** A position was given, and neither `gap` nor `reset` follows. */
    resumed: boolean;
  }[];
};

/** The events `from` to `to` are gone. The position is `EPOCH:to~` after it. */
export type SseBlocksTidewireGap = {
  /** The name of the block, also where `event:` is left out. */
  type: "tidewire.gap";
  topic: TypesTopic;
  /** The first one that is gone. */
  from: TypesSeq;
  /** The last one that is gone. */
  to: TypesSeq;
  reason: TypesGapReason;
};

/** Forget all you have of the topic. The position is `EPOCH:0~` after it. */
export type SseBlocksTidewireReset = {
  /** The name of the block, also where `event:` is left out. */
  type: "tidewire.reset";
  topic: TypesTopic;
  epoch: TypesEpoch;
  reason: TypesResetReason;
};

/** The position of a topic moved without an event. */
export type SseBlocksTidewirePosition = {
  /** The name of the block, also where `event:` is left out. */
  type: "tidewire.position";
  topic: TypesTopic;
  position: TypesPosition;
};

/** The stream ends. */
export type SseBlocksTidewireDraining = {
  /** The name of the block, also where `event:` is left out. */
  type: "tidewire.draining";
  /** Milliseconds to wait before coming back. */
  reconnect_after_ms: number;
};

/** The reader's rights have ended, and the stream ends. Come back with another token; the same one is refused with 401. */
export type SseBlocksTidewireExpired = {
  /** The name of the block, also where `event:` is left out. */
  type: "tidewire.expired";
  /** Why, for people. The words may change. */
  reason: string;
};

/** `gap` and `reset`, where they apply, come before the events. A topic that does not exist has epoch `00000000`, head 0 and no events. */
export type HttpEvents = {
  topic: TypesTopic;
  epoch: TypesEpoch;
  /** At most `limit` events and 1 MiB, but at least one; the compact page that reaches the head ends with the snapshots, beyond these. */
  events: EventsEnvelopeInFrame[];
  /** The `from` of the next page, or of a subscription. */
  position: TypesPosition;
  head: TypesHead;
  /** A next page has something. */
  more: boolean;
  /** Events that are gone. */
  gap?: {
    /** The first one that is gone. */
    from: TypesSeq;
    /** The last one that is gone. */
    to: TypesSeq;
    reason: TypesGapReason;
  };
  /** The reader forgets all it has of the topic. */
  reset?: {
    epoch: TypesEpoch;
    reason: TypesResetReason;
  };
};

/** The answer of `/healthz` and `/readyz`. */
export type HttpHealth = {
  /** `ok`: the process lives; `ready`: it takes work. */
  status: ("ok" | "ready");
  /** The name of the deployment. */
  environment: string;
  /** The version of the broker. */
  version: string;
};

/** A refusal as `application/problem+json` (RFC 9457). */
export type HttpProblem = {
  [member: string]: unknown;
} & HttpProblemMembers;

/** What every problem has. */
export type HttpProblemMembers = {
  /** A short name of the code, for people. */
  title: string;
  /** The HTTP status. */
  status: number;
  /** The same as `message` (RFC 9457 names it so). */
  detail: string;
} & ({
  status?: 400;
  code?: ("invalid_json" | "invalid_topic" | "invalid_event" | "reserved_type" | "invalid_cursor" | "invalid_request");
} | {
  status?: 401;
  code?: "unauthenticated";
} | {
  status?: 403;
  code?: "forbidden";
} | {
  status?: 404;
  code?: "not_found";
} | {
  status?: 405;
  code?: "method_not_allowed";
} | {
  status?: 409;
  code?: ("already_subscribed" | "producer_gap" | "producer_fenced" | "producer_unknown" | "message_owned" | "message_ended" | "id_conflict");
} | {
  status?: 413;
  code?: ("too_large" | "too_many_events");
} | {
  status?: 415;
  code?: "unsupported_media_type";
} | {
  status?: 426;
  code?: "upgrade_required";
} | {
  status?: 429;
  code?: ("rate_limited" | "too_many_subscriptions" | "too_many_open_messages");
} | {
  status?: 500;
  code?: "internal_error";
} | {
  status?: 503;
  code?: ("storage_unavailable" | "outcome_unknown" | "draining");
}) & TypesProblemMembers;

/** Why a publish stream ended. What came before the line is in the log. */
export type HttpProblemStream = {
  /** The line that was refused, from 1; empty lines count. Absent where it was no line that ended the stream. */
  line?: number;
  /** How many events were kept before. */
  kept: number;
  /** The seq of the last event that was kept; `null` if none was. */
  last_seq: (TypesSeq | null);
} & HttpProblemMembers;

/** The events of one body go in together, or none does. Unknown members are ignored. */
export type HttpPublish = {
  topic: TypesTopic;
  /** 1 to 1,000 events (by default). Empty only with a `producer`: that renews its lease and takes no seq. */
  events: EventsEnvelopeNew[];
  producer?: TypesProducer;
  /** Milliseconds that the producer may be silent before its open messages are ended for it. Absent: 120000. */
  lease_ms?: TypesLeaseMs;
};

/** Up to 1,000 publishes, each standing or falling by itself. Those of one topic are appended in this order. */
export type HttpPublishMany = HttpPublish[];

/** One line of a publish stream. */
export type HttpPublishStreamLine = EventsEnvelopeNew;

/** It is in the log. */
export type HttpPublished = {
  topic: TypesTopic;
  epoch: TypesEpoch;
  /** The seq of the first event; `null` where nothing was to be kept or the answer is forgotten. */
  first_seq: (TypesSeq | null);
  /** The seq of the last event; `null` as `first_seq`. */
  last_seq: (TypesSeq | null);
  /** It was in the log before; this is the first answer again. */
  duplicate: boolean;
};

/** One answer of an array that was kept. */
export type HttpPublishedEach = {
  topic: TypesTopic;
  epoch: TypesEpoch;
  /** The seq of the first event; `null` where nothing was to be kept or the answer is forgotten. */
  first_seq: (TypesSeq | null);
  /** The seq of the last event; `null` as `first_seq`. */
  last_seq: (TypesSeq | null);
  /** It was in the log before; this is the first answer again. */
  duplicate: boolean;
  /** As the status of a publish by itself. */
  status: 200;
};

/** The answers to an array of publishes, in its order. */
export type HttpPublishedMany = (HttpPublishedEach | HttpProblem)[];

/** The end of a publish stream. */
export type HttpPublishedStream = {
  topic: TypesTopic;
  epoch: TypesEpoch;
  /** How many events were kept. */
  kept: number;
  /** The seq of the first event that was kept; `null` if none was. */
  first_seq: (TypesSeq | null);
  /** The seq of the last event that was kept; `null` if none was. */
  last_seq: (TypesSeq | null);
  /** The number of this run, if a producer was named. */
  producer_epoch?: TypesProducerEpoch;
  /** Bytes of a last line that was cut off and therefore dropped. */
  dropped_bytes?: number;
};

/** Tokens, subjects and API keys whose rights were taken back. */
export type HttpRevocations = {
  /** In no order. What is about tokens that have expired is left out. */
  revocations: {
    [member: string]: unknown;
  } & HttpRevocationsMembers[];
};

/** What is revoked: just one of `jti`, `sub` and `key`. */
export type HttpRevocationsMembers = {
  /** One token, by its id: 1 to 512 bytes. */
  jti?: string;
  /** A subject: all tokens of it that were issued up to `issued_until`, and those that do not say when. 1 to 512 bytes. */
  sub?: string;
  /** An API key, by its name: 1 to 512 bytes. */
  key?: string;
  /** With `sub` only, in Unix seconds. Not given: up to now. */
  issued_until?: number;
  /** When the last token that it is about expires, in Unix seconds; it is forgotten then. Not given: never. */
  expires_at?: number;
};

/** One more, as `POST /v1/revocations` takes it and as a line of the revocations file. At most 16 KiB. */
export type HttpRevocationsNew = {
  [member: string]: unknown;
} & HttpRevocationsMembers;

/** It is revoked, also on every connection that is open. */
export type HttpRevocationsKept = {
  /** Whether it outlasts a restart: there is an `auth.revocations_file`. */
  kept: boolean;
};

/** As the parameters of `GET /v1/sse`, which its members beat. Unknown members are ignored. At most 1 MiB by default. */
export type HttpSse = {
  /** What to read: 1 to 100 topics. */
  topics: {
    topic: TypesTopic;
    /** Where this one begins. Absent: by the `from` beside the list. */
    from?: TypesFrom;
  }[];
  /** Where to begin, for topics without their own. Absent: `snapshot`. */
  from?: TypesFrom;
  /** How to catch up. Absent: `raw`. */
  replay?: TypesReplay;
  coalesce_ms?: TypesCoalesceMs;
  /** Which types to read. Absent: all. */
  types?: TypesTypes;
  /** The last `id:` seen. It beats every `from`. */
  last_event_id?: TypesCursor;
  /** End after the first batch of events (long polling). */
  once?: boolean;
  /** With `once`: milliseconds to wait for a first event. */
  wait_ms?: number;
  /** Whether blocks have an `event:` line. Absent: they have. */
  named?: boolean;
};

/** A topic that does not exist has epoch `00000000` and head 0. */
export type HttpTopic = {
  topic: TypesTopic;
  epoch: TypesEpoch;
  head: TypesHead;
  /** The first event that retention keeps; one more than `head` if it keeps none. */
  first_seq: TypesSeq;
  /** In order of their beginning; at most 1,024. */
  open_messages: {
    /** The message. */
    message_id: TypesId;
    /** Who writes the message, if known. */
    source?: TypesSource;
    /** Its first event. */
    first_seq: TypesSeq;
    /** Its last event so far. */
    last_seq: TypesSeq;
    /** The length of its text so far, in UTF-8 bytes. */
    bytes: number;
  }[];
  readers: TypesReaders;
};

/** The answer to erasing a topic. */
export type HttpTopicDeleted = {
  topic: TypesTopic;
  /** False if there was no such topic. */
  deleted: boolean;
};

/** In order. */
export type HttpTopics = {
  /** At most `limit` names. The last one is the `after` of the next page. */
  topics: TypesTopic[];
  /** A next page has something. */
  more: boolean;
};
