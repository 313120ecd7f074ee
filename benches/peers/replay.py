"""Replay to totals per user, and one user's month as of a commit, by DuckDB from its own file and by polars from a
Parquet file.

They read columns that were taken out of the events before; ours reads the events as they came, and checks them.
Each query is asked once before it is timed, so that all read from the system's cache, as ours does.
"""

import os
import random
import sys

os.environ["POLARS_MAX_THREADS"] = "1"

import duckdb  # noqa: E402
import polars  # noqa: E402
import pyarrow  # noqa: E402

from figures import columns, note, timed  # noqa: E402

# A query of one million events takes a hundredth of a second: many of them make one run.
REPEATS = 20
# The past: user, month and cut at random; a cut is how many events had come. Counted are the events up to it.
QUESTIONS = 200
MONTH = 30 * 24 * 3600 * 1000


def questions(data):
    """Users as often as they come up, months of 30 days, cuts: seeded."""
    draw, count = random.Random(7), len(data["at"])
    drawn = []
    for _ in range(QUESTIONS):
        line = draw.randrange(count)
        month = int(data["at"][line]) // MONTH * MONTH
        drawn.append((int(data["user"][line]), month, month + MONTH, draw.randrange(count) + 1))
    return drawn


def main(folder):
    data = columns(folder)
    count = len(data["at"])
    table = pyarrow.table({name: pyarrow.array(column) for name, column in data.items()})
    table = table.append_column("number_of_all", pyarrow.array(range(count), pyarrow.int64()))
    asked = questions(data)
    past = sum(cut for *_, cut in asked)

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

    of_past = (
        'SELECT sum(credits), sum(pages), count(*) FROM events '
        'WHERE "user" = ? AND at >= ? AND at < ? AND number_of_all < ?'
    )

    def past_by_duckdb():
        return [database.execute(of_past, question).fetchone()[2] for question in asked]

    past_by_duckdb()
    how = "one core, its own columns; user, month and cut at random"
    note("past", f"DuckDB {duckdb.__version__}", "events/s", how, [past / seconds for seconds in timed(past_by_duckdb)])

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
    in_memory = polars.from_arrow(table)

    def past_by_polars():
        column = polars.col
        found = []
        for user, first, end, cut in asked:
            wanted = (column("user") == user) & column("at").is_between(first, end, closed="left")
            rows = in_memory.head(cut).lazy().filter(wanted)
            sums = rows.select(column("credits").sum(), column("pages").sum(), polars.len().alias("found"))
            found.append(sums.collect()["found"][0])
        return found

    how = "one core, columns in memory; user, month and cut at random"
    note("past", f"polars {polars.__version__}", "events/s", how, [past / seconds for seconds in timed(past_by_polars)])
    if past_by_polars() != past_by_duckdb():
        sys.exit("DuckDB and polars disagree about the past")
    if sum(row[3] for row in totals) != by_polars_once()["len"].sum() or len(totals) != by_polars_once().height:
        sys.exit("DuckDB and polars disagree")


main(sys.argv[1])
