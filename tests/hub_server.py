"""A local server to which the Hub's client can upload, and from which it can download again."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_API = re.compile(
    r"/api/(?P<kind>models|datasets)/(?P<repo>[^/]+/[^/]+)/(?P<what>\w+)/(?P<branch>[^/]+)/?(?P<rest>.*)"
)
_FILE = re.compile(r"/(?P<data>datasets/)?(?P<repo>[^/]+/[^/]+)/resolve/[^/]+/(?P<name>.+)")


class WritableHub(ThreadingHTTPServer):
    """Keeps repositories in memory: ``files[kind, repo][path]``."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.branches = {"main"}
        self.large: dict[str, bytes] = {}
        self.commits = 0
        self.spoil: set[str] = set()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def writable_hub():
    server = WritableHub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Answers(BaseHTTPRequestHandler):
    """Answers of a local server: whole bodies, no log."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Handler(Answers):
    def json(self, value):
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            made = json.loads(body)
            repo, kind = f"{made['organization']}/{made['name']}", made.get("type", "model") + "s"
            self.server.files.setdefault((kind, repo), {})
            self.server.private[repo] = made.get("visibility") == "private"
            self.json({"url": f"{self.server.address}/{repo}", "id": repo})
            return
        if self.path == "/api/validate-yaml":
            front = json.loads(body)["content"].removeprefix("---\n").partition("---\n")[0]
            assert yaml.safe_load(front)["license"]
            self.json({"errors": [], "warnings": []})
            return
        if self.path.endswith("/info/lfs/objects/batch"):
            to, asked = f"{self.server.address}/large", json.loads(body)["objects"]
            sent = [{**x, "actions": {"upload": {"href": f"{to}/{x['oid']}"}}} for x in asked]
            self.json({"transfer": "basic", "objects": sent})
            return
        match = _API.fullmatch(unquote(urlsplit(self.path).path))
        files = self.server.files.get((match["kind"], match["repo"])) if match else None
        if files is None:
            self.answer(404, X_Error_Code="RepoNotFound")
        elif match["what"] == "branch":
            self.server.branches.add(match["branch"])
            self.json({})
        elif match["branch"] not in self.server.branches:
            self.answer(404, X_Error_Code="RevisionNotFound")
        elif match["what"] == "preupload":
            asked = json.loads(body)["files"]
            # As the real one: files that are no text go another way.
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith((".pt", ".nc")) else "regular",
                    "shouldIgnore": False,
                }
                for f in asked
            ]
            self.json({"files": modes})
        else:
            for line in filter(None, body.splitlines()):
                entry = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    files[value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "lfsFile":
                    value = entry["value"]
                    files[value["path"]] = self.server.large[value["oid"]]
                elif entry["key"] == "deletedFile":
                    del files[entry["value"]["path"]]
            self.server.commits += 1
            url = f"{self.server.address}/{match['repo']}/commit/{COMMIT}"
            self.json({"commitUrl": url, "commitOid": COMMIT, "success": True})

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        name = self.path.rpartition("/")[2]
        assert hashlib.sha256(body).hexdigest() == name
        self.server.large[name] = body
        self.answer(200)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if match := _API.fullmatch(path):
            files = self.server.files.get((match["kind"], match["repo"]))
            if files is None:
                self.answer(404, X_Error_Code="RepoNotFound")
                return
            if match["branch"] not in self.server.branches:
                self.answer(404, X_Error_Code="RevisionNotFound")
                return
            assert parse_qs(parts.query).get("recursive", ["true"])[0].lower() == "true"
            self.json([self.entry(name, data) for name, data in sorted(files.items())])
            return
        match = _FILE.fullmatch(path)
        kind = "datasets" if match and match["data"] else "models"
        data = (
            self.server.files.get((kind, match["repo"]), {}).get(match["name"]) if match else None
        )
        if data is None:
            self.answer(404, X_Error_Code="EntryNotFound")
            return
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        if match["name"] in self.server.spoil and self.command == "GET":
            data = bytes(len(data))
        self.answer(200, data, ETag=etag, X_Repo_Commit=COMMIT)

    @staticmethod
    def entry(name, data):
        lfs = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 1}
        return {"type": "file", "path": name, "size": len(data), "oid": "0", "lfs": lfs}
