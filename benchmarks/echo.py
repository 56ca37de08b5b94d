"""The other yardstick: a loop that only reads each message and writes it again."""

import json
import sys

for line in sys.stdin:
    print(json.dumps(json.loads(line)), flush=True)
