#!/bin/sh
# A program's output as a live answer: TIDEWIRE_URL=http://127.0.0.1:7070 ./pipe.sh /chat/42
set -eu
here=$(dirname "$0")
for word in The tide comes in and goes out again.; do
  printf '%s ' "$word"
  sleep 0.05
done | "${PYTHON:-python3}" "$here/pipe.py" "${1:?usage: pipe.sh TOPIC}"
