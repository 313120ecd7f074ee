"""Replay to totals per user, by DuckDB from its own file and by polars from a Parquet file.

They read columns that were taken out of the events before; ours reads the events as they came, and checks them.
Each query is asked once before it is timed, so that all read from the system's cache, as ours does.
"""

import os
import sys

os.environ["POLARS_MAX_THREADS"] = "1"

import duckdb  # noqa: E402
import polars  # noqa: E402
import pyarrow  # noqa: E402

from figures import columns, note, timed  # noqa: E402

# A query of one million events takes a hundredth of a second: many of them make one run.
REPEATS = 20


def main(folder):
    data = columns(folder)
    count = len(data["at"])
    table = pyarrow.table({name: pyarrow.array(column) for name, column in data.items()})

    path = os.path.join(folder, "duckdb")
    database = duckdb.connect(path)
    database.register("columns", table)
    database.execute("CREATE TABLE events AS SELECT * FROM columns")
    database.unregister("columns")
    database.close()
    database = duckdb.connect(path, read_only=True)
    database.execute("SET threads = 1")
    query = 'SELECT "user", sum(credits), sum(pages), count(*) FROM events GROUP BY "user"'
    totals = database.execute(query).fetchall()

    def by_duckdb():
        for _ in range(REPEATS):
            database.execute(query).fetchall()

    rates = [count * REPEATS / seconds for seconds in timed(by_duckdb)]
    note("replay", f"DuckDB {duckdb.__version__}", "events/s", "one core, its own columns, no check of the events", rates)

    parquet = os.path.join(folder, "parquet")
    polars.from_arrow(table).write_parquet(parquet)

    def by_polars_once():
        sums = [polars.col("credits").sum(), polars.col("pages").sum(), polars.len()]
        return polars.scan_parquet(parquet).group_by("user").agg(sums).collect()

    by_polars_once()

    def by_polars():
        for _ in range(REPEATS):
            by_polars_once()

    rates = [count * REPEATS / seconds for seconds in timed(by_polars)]
    note("replay", f"polars {polars.__version__}", "events/s", "one core, Parquet, no check of the events", rates)
    if sum(row[3] for row in totals) != by_polars_once()["len"].sum() or len(totals) != by_polars_once().height:
        sys.exit("DuckDB and polars disagree")


main(sys.argv[1])
