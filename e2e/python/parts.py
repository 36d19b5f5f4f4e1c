"""Parts of the telemetry store, read by programs that know nothing of Tidegate.

    parts.py FOLDER PARTS...

FOLDER holds `expected.jsonl`: the rows that were sent, one JSON object a line with its kind. PARTS are the Parquet files that
hold them. Each check prints a line; the last one is the sum.
"""

import json
import pathlib
import sys
from collections import Counter, defaultdict

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

folder, parts = pathlib.Path(sys.argv[1]), sys.argv[2:]
expected = defaultdict(list)
for line in (folder / "expected.jsonl").read_text().splitlines():
    row = json.loads(line)
    expected[row.pop("kind_of_record")].append(row)

by_kind = defaultdict(list)
for part in parts:
    by_kind[pathlib.Path(part).name.rsplit("-", 1)[0]].append(part)

passed = failed = 0


def check(what, found, wanted):
    global passed, failed
    if found == wanted:
        passed += 1
        print(f"ok    {what}")
    else:
        failed += 1
        print(f"FAIL  {what}: {found!r} is not {wanted!r}")


def plain(value):
    """As the sender wrote it: ids in hexadecimal digits, times as nanoseconds."""
    return value.hex() if isinstance(value, bytes) else value


def canonical(rows):
    return Counter(
        json.dumps({name: value for name, value in row.items() if value is not None and name != "id"}, sort_keys=True)
        for row in rows
    )


check("every kind has parts", sorted(by_kind), sorted(expected))
for kind, files in sorted(by_kind.items()):
    wanted = canonical(expected[kind])
    rows = []
    for file in files:
        table = pq.read_table(file)
        check(f"pyarrow: {kind}: times are UTC", table.schema.field("time").type, pa.timestamp("ns", tz="UTC"))
        rows += table.set_column(0, "time", table["time"].cast(pa.int64())).to_pylist()
    found = canonical({name: plain(value) for name, value in row.items()} for row in rows)
    check(f"pyarrow: {kind}: rows that were sent and are not there", sum((wanted - found).values()), 0)
    check(f"pyarrow: {kind}: rows that are there and were not sent", sum((found - wanted).values()), 0)
    check(f"pyarrow: {kind}: ids differ", len({row["id"] for row in rows}), len(rows))

    ask = duckdb.connect()
    ask.execute("SET TimeZone = 'UTC'")
    ask.execute(f"CREATE VIEW it AS SELECT * FROM read_parquet({files!r})")
    check(f"duckdb: {kind}: rows", ask.sql("SELECT count(*) FROM it").fetchall()[0][0], len(expected[kind]))
    names = [column[0] for column in ask.sql("DESCRIBE it").fetchall() if column[0] not in ("id", "time")]
    found = canonical(
        {name: plain(value) for name, value in zip(names, row)}
        for row in ask.sql(f"SELECT {', '.join(names)} FROM it").fetchall()
    )
    wanted = canonical({name: value for name, value in row.items() if name != "time"} for row in expected[kind])
    check(f"duckdb: {kind}: rows that differ", sum((found - wanted).values()) + sum((wanted - found).values()), 0)
    first = ask.sql("SELECT epoch_ns(min(time)) FROM it").fetchall()[0][0]
    check(f"duckdb: {kind}: the earliest time", first // 1000, min(row["time"] for row in expected[kind]) // 1000)

print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
