"""Row P4's comparison: DuckDB counts the same customers by the same conditions, over columns in memory.

    duckdb_counts.py FOLDER THREADS

FOLDER holds `r.i8`, `f.i8`, `channel.i8`, `revenue.i64` and `last_order.i64`, little-endian, and `conditions.json`, a list of conditions for each kind.
Prints, as JSON, the mean seconds of a query of each kind, and what was counted.
"""
import json
import pathlib
import sys
import time

import duckdb
import numpy

COLUMNS = {"r": "i8", "f": "i8", "channel": "i8", "revenue": "i64", "last_order": "i64"}


def main(folder, threads):
    """Measures all conditions, each once before it counts."""
    kinds = {"i8": numpy.int8, "i64": numpy.int64}
    customer = {name: numpy.fromfile(folder / f"{name}.{kind}", kinds[kind]) for name, kind in COLUMNS.items()}
    connection = duckdb.connect(config={"threads": threads})
    connection.execute("CREATE TABLE customer AS SELECT * FROM customer")
    told = {"seconds": [], "counts": []}
    for conditions in json.loads((folder / "conditions.json").read_text()):
        queries = [f"SELECT count(*) FROM customer WHERE {condition}" for condition in conditions]
        told["counts"].append([connection.execute(query).fetchone()[0] for query in queries])
        begun = time.perf_counter()
        for query in queries:
            connection.execute(query).fetchone()
        told["seconds"].append((time.perf_counter() - begun) / len(queries))
    print(json.dumps(told))
    del customer


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
