"""Stores readings from standard input, such as `bed-7 36.6`, and prints each one's number.

    python3 sample.py SOCKET LANE [BATCH] < readings.txt

SOCKET may be http://127.0.0.1:9466, with the token in the environment variable SPILLWAY_TOKEN. With
BATCH, so many go in one request. It goes on through whatever becomes of the agent.
"""

import itertools
import os
import sys

from spillway import Client, Receipt, Record


def reading(line, lane):
    bed, _, value = line.strip().partition(" ")
    return Record(value, lane=lane, key=bed, order_key=bed, properties={"unit": "°C"})


def waits(error, seconds):
    print(f"waits {seconds:.1f} s: {error}", file=sys.stderr, flush=True)


def main(path, lane, batch="1"):
    records = (reading(line, lane) for line in sys.stdin)
    with Client(path, on_wait=waits, token=os.environ.get("SPILLWAY_TOKEN")) as client:
        while some := list(itertools.islice(records, int(batch))):
            for record, result in zip(some, client.send_all_until_stored(some)):
                if not isinstance(result, Receipt):
                    sys.exit(f"{record.body}: {result}")
                print(result.seq, result.id, record.body, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
