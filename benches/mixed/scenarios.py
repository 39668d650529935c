"""What the load is made of: command lines of `tidewire bench`.

Together they take 30 to 50 % of a core, broker and generators, so that a machine can be used otherwise for the hour.
"""

# From the first second to the last: users whose lines are cut and who come back with their position.
WHOLE_TIME = [
    "sustain --transport ws --users 250 --rate 200 --churn 15",
    "sustain --transport sse --users 250 --rate 200 --churn 15 --publish ws",
]

# Answers that begin and end, in topics that are new with each run.
ANSWERS_EACH_S = 15
ANSWERS = [
    f"streams --transport {reads} --publish {publishes} --topics 80 --rate 20 --answer-tokens 60 --publishers 4 --seconds 12"
    for reads, publishes in [("ws", "ws"), ("sse", "http"), ("ws", "http"), ("sse", "ws")]
]

# Once around takes a minute. A stalled run is about twice its seconds.
EVENTS_EACH_S = 6
EVENTS = [
    "stalled --topics 20 --readers-per-topic 10 --rate 25 --text-bytes 1000 --seconds 2 --publishers 2",
    "resume --readers 500 --topics 50 --missed 50",
    "publish --publish http --topics 100 --rate 500 --seconds 4 --publishers 4",
    "join --readers 50 --tokens 1000",
    "fanout --transport sse --readers 500 --rate 2 --burst 5 --seconds 4 --publishers 2",
    "stalled --transport sse --topics 20 --readers-per-topic 10 --rate 25 --text-bytes 1000 --seconds 2 --publishers 2",
    "resume --transport sse --readers 500 --topics 50 --missed 50",
    "publish --publish ws --topics 100 --rate 500 --seconds 4 --publishers 4",
    "join --transport sse --readers 50 --tokens 1000",
    "idle --readers 500 --seconds 4",
]
