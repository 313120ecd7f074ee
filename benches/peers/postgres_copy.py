"""A backlog by Postgres: COPY of typed columns in its binary format, by psql over TCP on loopback.

One transaction for all, so one sync of its log before it says that it is done: what suits it best. The bytes are
those of the COPY, without TCP's and IP's headers. The file that is copied was made before, as ours was sealed before.
"""

import os
import subprocess
import sys
import time

import numpy

from figures import COLUMNS, RUNS, columns, note

TYPES = {1: ("int2", ">i2"), 2: ("int2", ">i2"), 4: ("int4", ">i4"), 8: ("int8", ">i8")}


def binary(data):
    """All rows as COPY BINARY wants them."""
    fields = [("count", ">i2")]
    for name, kind in COLUMNS.items():
        width = numpy.dtype(TYPES[numpy.dtype(kind).itemsize][1])
        fields += [(f"{name} len", ">i4"), (name, width)]
    rows = numpy.zeros(len(data["at"]), dtype=fields)
    rows["count"] = len(COLUMNS)
    for name, column in data.items():
        width = rows.dtype[name]
        rows[f"{name} len"] = width.itemsize
        rows[name] = column.astype(width, casting="unsafe")
    return b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows.tobytes() + b"\xff\xff"


def main(folder, psql, port):
    data = columns(folder)
    path = os.path.join(folder, "copy")
    with open(path, "wb") as file:
        file.write(binary(data))

    def ask(statement, stdin=None):
        command = [psql, "-h", "127.0.0.1", "-p", port, "-U", "postgres", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement]
        subprocess.run(command, stdin=stdin, check=True)

    types = ", ".join(f'"{name}" {TYPES[numpy.dtype(kind).itemsize][0]}' for name, kind in COLUMNS.items())
    rates = []
    for run in range(RUNS):
        ask(f"CREATE TABLE events{run} ({types})")
        ask("CHECKPOINT")
        with open(path, "rb") as file:
            began = time.perf_counter()
            ask(f"COPY events{run} FROM STDIN BINARY", file)
            rates.append(len(data["at"]) / (time.perf_counter() - began))
    note("backlog", "PostgreSQL COPY", "events/s", "one fsync at the end, for all", rates)
    size = os.path.getsize(path) / len(data["at"])
    note("wire", "PostgreSQL COPY", "bytes/event", "without TCP/IP headers", [size])


main(*sys.argv[1:])
