"""`python -m fila_lab.studies.doctor PART`: one part's findings as a line of JSON."""

from __future__ import annotations

import json
import sys

from fila_lab.studies.doctor.examine import PARTS

if __name__ == "__main__":
    print(json.dumps([finding.to_dict() for finding in PARTS[sys.argv[1]]()]))
