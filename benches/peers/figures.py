"""What the comparison's scripts share: the workload's columns, medians, and how a figure is noted.

The columns are what `benches/src/bin/dump.rs` wrote. A figure is one line of JSON; `results.py` reads them all.
"""

import json
import os
import statistics
import time

import numpy

COLUMNS = {
    "device": "<u4",
    "user": "<u4",
    "at": "<u8",
    "job": "<u8",
    "kind": "<u2",
    "pages": "<u4",
    "detail": "<u4",
    "color": "u1",
    "number": "<u4",
    "credits": "<i8",
}
RUNS = int(os.environ.get("TALLYROLL_BENCH_RUNS", "3"))


def columns(folder):
    """The workload, a numpy array for each column."""
    return {name: numpy.fromfile(os.path.join(folder, name), kind) for name, kind in COLUMNS.items()}


def timed(work):
    """Seconds of each run of `work`."""
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds


def note(stage, system, unit, durable, values):
    """Tells a figure and notes it."""
    figure = {
        "stage": stage,
        "system": system,
        "unit": unit,
        "durable": durable,
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }
    print(f"{stage}: {system} {figure['median']:.1f} [{min(values):.1f}..{max(values):.1f}] {unit}; {durable}", flush=True)
    with open(os.environ["TALLYROLL_BENCH_OUT"], "a", encoding="utf-8") as out:
        out.write(json.dumps(figure) + "\n")
