"""Run as a program: matches one regular expression a line of stdin, so that the parent can end one that never ends."""

import json
import re
import sys

if __name__ == "__main__":
    for line in sys.stdin:
        pattern, text = json.loads(line)
        try:
            found = re.search(pattern, text)
            reply: dict[str, object] = {"at": found.start() if found else None}
        except (re.error, RecursionError, OverflowError, MemoryError) as error:
            reply = {"error": str(error) or type(error).__name__}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
