"""A small BigQuery on loopback: what the real client needs of REST v2, over DuckDB.

It knows dry runs with bytes by column, the bytes limit, paging, errors on demand, and records every
request. Its SQL goes through sqlglot as the embedded engine's does, so agreement of the two proves
little by itself: the expectations in `tests/queries` are written by hand.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

_TYPES = {"STRING": "VARCHAR", "INT64": "BIGINT", "BOOL": "BOOLEAN", "FLOAT64": "DOUBLE"}


def google_type(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return f"STRUCT<{', '.join(f'{field.name} {google_type(field.type)}' for field in kind)}>"
    if pa.types.is_list(kind):
        return f"ARRAY<{google_type(kind.value_type)}>"
    if pa.types.is_integer(kind):
        return "INT64"
    return "BOOL" if pa.types.is_boolean(kind) else "STRING"


def field_paths(name: str, kind: pa.DataType) -> list[tuple[str, str]]:
    paths = [(name, google_type(kind))]
    inner = kind.value_type if pa.types.is_list(kind) else kind
    if pa.types.is_struct(inner):
        for field in inner:
            paths += field_paths(f"{name}.{field.name}", field.type)
    return paths


class Refusal(Exception):
    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


class BigQueryServer:
    """Serves `tables` (``project.dataset.table`` → Arrow table)."""

    def __init__(self) -> None:
        self.tables: dict[str, pa.Table] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.faults: list[Refusal] = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> BigQueryServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def reset(self) -> None:
        self.tables.clear()
        self.jobs.clear()
        self.requests.clear()
        self.faults.clear()

    def queries(self) -> list[dict[str, Any]]:
        """The configurations of the jobs posted."""
        return [
            body["configuration"]
            for method, path, body in self.requests
            if method == "POST" and path.endswith("/jobs")
        ]

    # --- answers ---------------------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self.requests.append((method, path, body))
            if self.faults:
                raise self.faults.pop(0)
            parts = path.removeprefix("/bigquery/v2/projects/").split("/")
            if method == "POST" and parts[1] == "jobs":
                return self.insert(parts[0], body)
            if method == "GET" and parts[1] == "jobs":
                return self.jobs[parts[2]]["resource"]
            if method == "GET" and parts[1] == "queries":
                return self.page(parts[2], query)
            raise Refusal(404, "notFound", f"no such route: {method} {path}")

    def insert(self, project: str, body: dict[str, Any]) -> dict[str, Any]:
        config = body["configuration"]
        wanted = config["query"]
        sql = wanted["query"]
        size = self.bytes_of(sql)
        table = self.execute(sql, wanted.get("queryParameters", []), dry=bool(config.get("dryRun")))
        limit = wanted.get("maximumBytesBilled")
        if limit is not None and size > int(limit):
            raise Refusal(
                400,
                "bytesBilledLimitExceeded",
                f"Query exceeded limit for bytes billed: {limit}. {size} or higher required.",
            )
        job = body.get("jobReference", {}).get("jobId") or f"job-{len(self.jobs)}"
        fields = [_field(field) for field in table.schema]
        resource = {
            "kind": "bigquery#job",
            "id": f"{project}:{job}",
            "jobReference": {"projectId": project, "jobId": job, "location": "US"},
            "configuration": config | {"jobType": "QUERY"},
            "status": {"state": "DONE"},
            "statistics": {
                "totalBytesProcessed": str(size),
                "query": {
                    "totalBytesProcessed": str(size),
                    "statementType": "SELECT",
                    "schema": {"fields": fields},
                },
            },
        }
        self.jobs[job] = {
            "resource": resource,
            "fields": fields,
            "rows": table.to_pylist(),
            "schema": table.schema,
        }
        return resource

    def page(self, job: str, query: dict[str, str]) -> dict[str, Any]:
        known = self.jobs[job]
        start = int(query.get("pageToken") or 0)
        count = int(query.get("maxResults", 1000))
        rows = known["rows"][start : start + count]
        answer = {
            "jobComplete": True,
            "jobReference": known["resource"]["jobReference"],
            "schema": {"fields": known["fields"]},
            "totalRows": str(len(known["rows"])),
            "totalBytesProcessed": known["resource"]["statistics"]["totalBytesProcessed"],
            "rows": [_row(row, known["schema"]) for row in rows],
        }
        if count and start + count < len(known["rows"]):
            answer["pageToken"] = str(start + count)
        return answer

    # --- SQL -------------------------------------------------------------------------------------

    def bytes_of(self, sql: str) -> int:
        """Bytes of the columns that the statement names, as BigQuery bills."""
        tree = sqlglot.parse_one(sql, read="bigquery")
        names = {node.name.casefold() for node in tree.find_all(exp.Identifier)}
        total = 0
        for key in {self.key(table) for table in tree.find_all(exp.Table) if table.db}:
            table = self.tables.get(key)
            if table is not None:
                total += sum(table[name].nbytes for name in table.column_names if name.casefold() in names)
        return total

    def key(self, table: exp.Table) -> str:
        return ".".join(part.name for part in table.parts)

    def execute(self, sql: str, given: list[dict[str, Any]], *, dry: bool) -> pa.Table:
        try:
            tree = sqlglot.parse_one(sql, read="bigquery")
        except sqlglot.errors.SqlglotError as error:
            raise Refusal(400, "invalidQuery", f"Syntax error: {str(error).splitlines()[0]}") from error
        with duckdb.connect(":memory:") as connection:
            for number, table in enumerate([node for node in tree.find_all(exp.Table) if node.db]):
                key = self.key(table)
                connection.register(f"t{number}", self.lookup(key))
                table.set("catalog", None)
                table.set("db", None)
                name = table.alias or table.name
                table.set("this", exp.to_identifier(f"t{number}"))
                table.set("alias", exp.TableAlias(this=exp.to_identifier(name)))
            values = {item["name"]: _value(item) for item in given}
            types = {item["name"]: _type(item) for item in given}
            for node in list(tree.find_all(exp.Parameter)):
                if node.name not in values:
                    raise Refusal(400, "invalidQuery", f"Query parameter '{node.name}' not found")
                node.replace(exp.cast(node.copy(), exp.DataType.build(types[node.name], dialect="duckdb")))
            text = tree.sql(dialect="duckdb")
            used = {name: value for name, value in values.items() if f"${name}" in text}
            try:
                return connection.execute(
                    f"SELECT * FROM ({text}) LIMIT 0" if dry else text, used or None
                ).to_arrow_table()
            except duckdb.Error as error:
                raise Refusal(400, "invalidQuery", str(error).splitlines()[0]) from error

    def lookup(self, key: str) -> pa.Table:
        dataset, _, _ = key.rpartition(".")
        if ".INFORMATION_SCHEMA" in key.upper():
            dataset = re.split(r"\.INFORMATION_SCHEMA", key, flags=re.IGNORECASE)[0]
            tables = {
                k.rpartition(".")[2]: t for k, t in self.tables.items() if k.rpartition(".")[0] == dataset
            }
            if not tables:
                raise Refusal(404, "notFound", f"Not found: Dataset {dataset}")
            rows = [
                {"table_name": name, "field_path": path, "data_type": kind}
                for name, table in tables.items()
                for field in table.schema
                for path, kind in field_paths(field.name, field.type)
            ]
            return pa.Table.from_pylist(rows)
        if key not in self.tables:
            raise Refusal(404, "notFound", f"Not found: Table {key} was not found in location US")
        return self.tables[key]


class _Handler(BaseHTTPRequestHandler):
    owner: BigQueryServer
    protocol_version = "HTTP/1.1"

    def _serve(self, method: str) -> None:
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        try:
            status, answer = 200, self.owner.answer(method, parts.path, query, body)
        except Refusal as refusal:
            status = refusal.status
            entry = {"reason": refusal.reason, "message": refusal.message}
            answer = {"error": {"code": status, "message": refusal.message, "errors": [entry]}}
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def log_message(self, *_: object) -> None:
        pass


def _type(item: dict[str, Any]) -> str:
    kind = item["parameterType"]
    if kind["type"] == "ARRAY":
        return f"{_TYPES[kind['arrayType']['type']]}[]"
    return _TYPES[kind["type"]]


def _value(item: dict[str, Any]) -> Any:
    kind, value = item["parameterType"], item["parameterValue"]
    if kind["type"] == "ARRAY":
        return [
            _scalar(kind["arrayType"]["type"], entry.get("value")) for entry in value.get("arrayValues", [])
        ]
    return _scalar(kind["type"], value.get("value"))


def _scalar(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "INT64":
        return int(value)
    if kind == "BOOL":
        return value in (True, "true", "True")
    return float(value) if kind == "FLOAT64" else str(value)


def _field(field: pa.Field) -> dict[str, Any]:
    kind, mode = field.type, "NULLABLE"
    if pa.types.is_list(kind):
        kind, mode = kind.value_type, "REPEATED"
    entry: dict[str, Any] = {"name": field.name, "mode": mode}
    if pa.types.is_struct(kind):
        return entry | {"type": "RECORD", "fields": [_field(inner) for inner in kind]}
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0):
        return entry | {"type": "INTEGER"}
    if pa.types.is_floating(kind):
        return entry | {"type": "FLOAT"}
    return entry | {"type": "BOOLEAN" if pa.types.is_boolean(kind) else "STRING"}


def _row(row: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    return {"f": [{"v": _cell(row[field.name], field.type)} for field in schema]}


def _cell(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return [{"v": _cell(item, kind.value_type)} for item in value or []]
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {"f": [{"v": _cell(value[field.name], field.type)} for field in kind]}
    return str(value).lower() if isinstance(value, bool) else str(value)
