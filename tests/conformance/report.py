#!/usr/bin/env python3
"""Look at a report of the standard's conformance cases: `report.py REPORT BASELINE`.

Fails where a case crashed or ran out of time. With NNC_BLESS in the environment, the cases that pass
become the baseline.
"""

import json
import os
import sys
from pathlib import Path


def main(report: str, baseline: str) -> int:
    results = json.loads(Path(report).read_text())["results"]
    dead = {case: r for case, r in results.items() if r["status"] in ("crash", "timeout")}
    for case, result in sorted(dead.items()):
        print(f"{result['status']} {case}: {result['message'][:160]}")
    passing = sorted(case for case, r in results.items() if r["status"] == "pass")
    if os.environ.get("NNC_BLESS"):
        lines = ",\n".join(f'  "{case}": {{"status": "pass"}}' for case in passing)
        Path(baseline).write_text(f'{{"results": {{\n{lines}\n}}}}\n')
        print(f"{len(passing)} cases written to {baseline}")
    return 1 if dead or not passing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
