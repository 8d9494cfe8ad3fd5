# SPDX-License-Identifier: Apache-2.0
"""validate.py MPSCOPE FILE: holds every line of FILE against the schema that MPSCOPE prints."""
import json
import re
import subprocess
import sys

import jsonschema

schema = json.loads(subprocess.run([sys.argv[1], "schema"], check=True, capture_output=True).stdout)
kind = jsonschema.validators.validator_for(schema)
kind.check_schema(schema)
validator = kind(schema)


def shape(value):
    """What the schema tells apart; a line of a form that was found valid is valid."""
    if isinstance(value, dict):
        return tuple((key, shape(member)) for key, member in value.items())
    if isinstance(value, list):
        return ("list",) + tuple(map(shape, value))
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value < 2 else "n%d" % sum(value >= 1 << bits for bits in (8, 16, 32))
    if isinstance(value, str):
        return "token" if re.fullmatch("[0-9a-f]{8}", value) else re.sub("[0-9]", "0", value)
    return value


seen = set()
wrong = 0
with open(sys.argv[2], encoding="utf-8") as lines:
    for number, line in enumerate(lines, 1):
        record = json.loads(line)
        form = shape(record)
        if form in seen:
            continue
        if validator.is_valid(record):
            seen.add(form)
            continue
        wrong += 1
        print("line %d is not valid: %s" % (number, line.strip()))
sys.exit(1 if wrong else 0)
