"""The yardstick: the shortest loop that gives the node's replies to sagas in a chain, without running any saga."""

import json
import sys

for line in sys.stdin:
    message = json.loads(line)
    body = message.get("body", message)
    steps, fail_step = body["steps"], body.get("fail_step")
    head = {"in_reply_to": body["msg_id"], "saga_id": body["saga_id"]}
    if fail_step in steps:
        undone = steps[: steps.index(fail_step)][::-1]
        reply = {"type": "saga_compensated", **head, "state": "compensated", "compensated_steps": undone}
    else:
        reply = {"type": "saga_completed", **head, "state": "completed", "completed_steps": len(steps)}
    print(json.dumps(reply), flush=True)
