"""Row P3's comparison: DuckDB scores the same customers, by `CASE` and by `NTILE`, into a table of bytes.

    duckdb_scores.py FOLDER THREADS

FOLDER holds `days.i32`, `orders.i32` and `revenue.i64`, little-endian. Prints, as JSON, the best seconds of five and the counts by `CASE`.
"""
import json
import pathlib
import sys
import time

import duckdb
import numpy

ROUNDS = 5
# The cut-offs of the preset `retail`, in cents.
FIXED = """CREATE OR REPLACE TABLE scored AS SELECT
  (CASE WHEN days <= 30 THEN 5 WHEN days <= 90 THEN 4 WHEN days <= 180 THEN 3 WHEN days <= 365 THEN 2 ELSE 1 END)::TINYINT AS r,
  (CASE WHEN orders < 2 THEN 1 WHEN orders < 3 THEN 2 WHEN orders < 5 THEN 3 WHEN orders < 10 THEN 4 ELSE 5 END)::TINYINT AS f,
  (CASE WHEN revenue < 5000 THEN 1 WHEN revenue < 10000 THEN 2 WHEN revenue < 20000 THEN 3 WHEN revenue < 50000 THEN 4 ELSE 5 END)::TINYINT AS m
  FROM customer"""
QUANTILE = """CREATE OR REPLACE TABLE scored AS SELECT
  ntile(5) OVER (ORDER BY days DESC)::TINYINT AS r, ntile(5) OVER (ORDER BY orders)::TINYINT AS f,
  ntile(5) OVER (ORDER BY revenue)::TINYINT AS m FROM customer"""


def best(connection, query):
    """The least seconds that a query takes."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        connection.execute(query)
        taken.append(time.perf_counter() - begun)
    return min(taken)


def main(folder, threads):
    """Measures both."""
    columns = {"days": numpy.int32, "orders": numpy.int32, "revenue": numpy.int64}
    customer = {name: numpy.fromfile(folder / f"{name}.{'i32' if kind is numpy.int32 else 'i64'}", kind) for name, kind in columns.items()}
    connection = duckdb.connect(config={"threads": threads})
    connection.execute("CREATE TABLE customer AS SELECT * FROM customer")
    told = {"fixed": best(connection, FIXED)}
    told["counts"] = [[count for _, count in connection.execute(
        f"SELECT {score}, count(*) FROM scored GROUP BY 1 ORDER BY 1").fetchall()] for score in "rfm"]
    told["quantile"] = best(connection, QUANTILE)
    print(json.dumps(told))
    del customer


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
