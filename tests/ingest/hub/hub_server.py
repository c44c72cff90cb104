"""A hub of datasets and models on the loopback interface: real commits and hashes, and faults.

It speaks the part of the hub's protocol that publishing and pulling use: repositories, branches,
trees in pages, pre-upload, LFS batch, upload and verify, commits with a parent check, resolve
with Range and redirects. Contents are kept in memory by their hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

KEY = "hf_" + "testkey" * 5
PAGE_FILES = 3
"""Files a page of a listing holds: few, so that every listing has several."""

Tree = dict[str, bytes]


def git_sha1(content: bytes) -> str:
    """Return git's hash of a file."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@dataclass
class Repo:
    """One repository: its commits, and the newest one of each branch."""

    is_private: bool
    commits: dict[str, Tree] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def add(self, branch: str, tree: Tree, message: str) -> str:
        """Add a commit and return its name."""
        text = repr((branch, sorted(tree), message, len(self.commits)))
        oid = hashlib.sha1(text.encode()).hexdigest()
        self.commits[oid] = tree
        self.branches[branch] = oid
        self.messages.append(message)
        return oid

    def tree(self, branch: str = "main") -> Tree:
        """Return the files of a branch."""
        return self.commits[self.branches[branch]]


@dataclass
class Hub:
    """The hub's state, and what it was asked for."""

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    """Large files by SHA-256, committed or not."""
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and Range of each request."""
    keys: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Authorization of each request."""
    before_commit: Callable[[Repo], None] = lambda _: None
    on_upload: Callable[[int], None] = lambda _: None
    """Called with the number of large files that are there, before one more is taken."""
    takes_uploads: bool = True
    spoil: Callable[[str, bytes], bytes] = lambda _, content: content
    """Changes what a download of a path answers with."""
    cut: set[str] = field(default_factory=set)
    """Names whose next download ends in the middle."""
    on_half: Callable[[str], None] = lambda _: None
    """Called with the path when half of a download is sent."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Sizes that listings state instead of the true ones."""

    def uploads(self) -> list[str]:
        """Return the SHA-256 of each large file that was sent, in order."""
        return [p.rpartition("/")[2] for m, p, _ in self.asked if m == "PUT"]

    def downloads(self) -> list[tuple[str, str | None]]:
        """Return path and Range of each download."""
        return [(p, r) for m, p, r in self.asked if m == "GET" and "/resolve/" in p]


@contextmanager
def serving() -> Iterator[Hub]:
    """Give a hub that answers until the end."""
    hub = Hub()

    class Bound(Handler):
        state = hub

    with ThreadingHTTPServer(("127.0.0.1", 0), Bound) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    state: Hub

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def handle(self) -> None:
        """Answer; a client that was killed is no fault of ours."""
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True

    def answer(self, status: int, body: Any = b"", **headers: str) -> None:
        """Send an answer, JSON unless it is bytes."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def body(self) -> bytes:
        """Return the body of a request, whole or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def serve(self) -> None:
        """Find what is asked for and answer."""
        hub, path = self.state, unquote(urlparse(self.path).path)
        hub.asked.append((self.command, path, self.headers.get("Range")))
        hub.keys.append((path, self.headers.get("Authorization")))
        content = self.body()
        for pattern, method in ROUTES:
            match = re.fullmatch(pattern, f"{self.command} {path}")
            if match:
                getattr(self, method)(content, *match.groups())
                return
        self.answer(404, {"error": "no such page"})

    do_GET = do_POST = do_PUT = do_HEAD = serve  # noqa: N815 - the library's names

    @property
    def is_known(self) -> bool:
        """Whether the request carries the key."""
        return self.headers.get("Authorization") == f"Bearer {KEY}"

    def found(self, name: str, *, writes: bool = False) -> Repo | None:
        """Return a repository that the asker may see, or answer that there is none."""
        repo = self.state.repos.get(name)
        if writes and not self.is_known:
            self.answer(401, {"error": "Invalid username or password."})
            return None
        if repo is None or (repo.is_private and not self.is_known):
            self.answer(
                404 if self.is_known else 401,
                {"error": "Repository not found"},
                X_Error_Code="RepoNotFound",
            )
            return None
        return repo

    def commit_of(self, repo: Repo, revision: str) -> str | None:
        """Return the commit of a revision, or answer that there is none."""
        oid = repo.branches.get(revision, revision)
        if oid in repo.commits:
            return oid
        self.answer(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound")
        return None

    def create_repo(self, content: bytes) -> None:
        """Create a repository with its first commit, as the hub does."""
        asked = json.loads(content)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if not self.is_known:
            return self.answer(401, {"error": "Invalid username or password."})
        kind = "datasets/" if asked.get("type") == "dataset" else ""
        url = f"{self.state.url}/{kind}{name}"
        if name in self.state.repos:
            return self.answer(409, {"error": "You already created this repo", "url": url})
        is_private = asked.get("visibility") == "private" or bool(asked.get("private"))
        repo = self.state.repos[name] = Repo(is_private)
        repo.add("main", {".gitattributes": b"*.parquet filter=lfs\n"}, "initial commit")
        return self.answer(200, {"url": url, "name": name, "id": "0"})

    def create_branch(self, _: bytes, name: str, branch: str) -> None:
        """Create a branch at the newest commit of the main one."""
        repo = self.found(name, writes=True)
        if repo is not None:
            repo.branches.setdefault(branch, repo.branches["main"])
            self.answer(200, {})

    def info(self, _: bytes, name: str) -> None:
        """Say what a repository is."""
        repo = self.found(name)
        if repo is not None:
            self.answer(200, {"id": name, "private": repo.is_private, "sha": repo.branches["main"]})

    def revision(self, _: bytes, name: str, revision: str) -> None:
        """Say which commit a revision is."""
        repo = self.found(name)
        oid = None if repo is None else self.commit_of(repo, revision)
        if oid is not None:
            self.answer(200, {"id": name, "sha": oid})

    def tree(self, _: bytes, name: str, revision: str) -> None:
        """List files, a few on a page."""
        repo = self.found(name)
        oid = None if repo is None else self.commit_of(repo, revision)
        if repo is None or oid is None:
            return None
        files, sizes = sorted(repo.commits[oid].items()), self.state.sizes
        at = int((re.search(r"cursor=(\d+)", self.path) or ["", "0"])[1])
        entries = [
            {
                "type": "file",
                "path": path,
                "size": sizes.get(path, len(content)),
                "oid": git_sha1(content),
            }
            | ({"lfs": {"oid": hashlib.sha256(content).hexdigest()}} if is_large(path) else {})
            for path, content in files[at : at + PAGE_FILES]
        ]
        folders = [{"type": "directory", "path": "runs", "size": 0, "oid": "0"}] if at == 0 else []
        following = at + PAGE_FILES
        base = f"{self.state.url}{urlparse(self.path).path}?recursive=true"
        link = {"Link": f'<{base}&cursor={following}>; rel="next"'}
        return self.answer(200, folders + entries, **(link if following < len(files) else {}))

    def validate_yaml(self, _: bytes) -> None:
        """Accept a card."""
        self.answer(200, {"errors": [], "warnings": []})

    def preupload(self, content: bytes, name: str, revision: str) -> None:
        """Say how each file is to be sent."""
        repo = self.found(name, writes=True)
        oid = None if repo is None else self.commit_of(repo, revision)
        if repo is None or oid is None:
            return
        ignored = repo.commits[oid].get(".gitignore", b"").decode().split()
        files = [
            {
                "path": f["path"],
                "uploadMode": "lfs" if is_large(f["path"]) else "regular",
                "shouldIgnore": any(f["path"].endswith(end.lstrip("*")) for end in ignored),
            }
            for f in json.loads(content)["files"]
        ]
        self.answer(200, {"files": files})

    def batch(self, content: bytes, name: str) -> None:
        """Say which large files are wanted: those that are not there."""
        if self.found(name, writes=True) is None:
            return
        objects = []
        for wanted in json.loads(content)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.state.objects:
                upload = {"href": f"{self.state.url}/lfs/{wanted['oid']}"}
                verify = {"href": f"{self.state.url}/verify"}
                entry["actions"] = {"upload": upload, "verify": verify}
            objects.append(entry)
        self.answer(200, {"transfer": "basic", "objects": objects})

    def upload(self, content: bytes, oid: str) -> None:
        """Take a large file."""
        self.state.on_upload(len(self.state.objects))
        if not self.state.takes_uploads or hashlib.sha256(content).hexdigest() != oid:
            return self.answer(400, {"error": "another content"})
        self.state.objects[oid] = content
        return self.answer(200)

    def verify(self, content: bytes) -> None:
        """Say whether a large file has arrived."""
        asked = json.loads(content)
        is_there = len(self.state.objects.get(asked["oid"], b"")) == asked["size"]
        self.answer(200 if is_there else 404, {})

    def commit(self, content: bytes, name: str, branch: str) -> None:
        """Commit, if the newest commit is still the one that was looked at."""
        repo = self.found(name, writes=True)
        if repo is None:
            return None
        self.state.before_commit(repo)
        header, *operations = (json.loads(line) for line in content.splitlines() if line)
        parent = header["value"].get("parentCommit")
        if parent is not None and parent != repo.branches[branch]:
            return self.answer(412, {"error": "A commit has happened since. Please refresh."})
        tree = dict(repo.tree(branch))
        for operation in operations:
            kind, value = operation["key"], operation["value"]
            if kind == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                if value["oid"] not in self.state.objects:
                    return self.answer(400, {"error": f"LFS object {value['oid']} is missing"})
                tree[value["path"]] = self.state.objects[value["oid"]]
            elif kind == "deletedFile":
                del tree[value["path"]]
            else:
                return self.answer(400, {"error": kind})
        oid = repo.add(branch, tree, header["value"]["summary"])
        url = f"{self.state.url}/datasets/{name}/commit/{oid}"
        return self.answer(200, {"success": True, "commitOid": oid, "commitUrl": url})

    def resolve(self, _: bytes, name: str, revision: str, path: str) -> None:
        """Serve a small file, and send to another page for a large one."""
        repo = self.found(name)
        oid = None if repo is None else self.commit_of(repo, revision)
        if repo is None or oid is None:
            return None
        content = repo.commits[oid].get(path)
        if content is None:
            return self.answer(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
        if is_large(path) and not self.path.endswith("?cdn"):
            return self.answer(302, Location=f"{self.path}?cdn")
        content = self.state.spoil(path, content)
        start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range") or "") or ["", "0"])[1])
        place = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        half = (len(content) - start) // 2
        self.send_response(206 if start else 200)
        for name_, value in (place if start else {}).items():
            self.send_header(name_.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + half])
        self.wfile.flush()
        self.state.on_half(path)
        if path in self.state.cut:
            self.state.cut.discard(path)
            self.close_connection = True
            return self.connection.close()
        self.wfile.write(content[start + half :])
        return None


NAME = r"([^/]+/[^/]+?)"
KIND = "(?:datasets|models)"
ROUTES = (
    (r"POST /api/repos/create", "create_repo"),
    (rf"POST /api/{KIND}/{NAME}/branch/(.+)", "create_branch"),
    (rf"GET /api/{KIND}/{NAME}/revision/(.+)", "revision"),
    (rf"GET /api/{KIND}/{NAME}/tree/(.+)", "tree"),
    (rf"GET /api/{KIND}/{NAME}", "info"),
    (r"POST /api/validate-yaml", "validate_yaml"),
    (rf"POST /api/{KIND}/{NAME}/preupload/(.+)", "preupload"),
    (rf"POST (?:/datasets)?/{NAME}\.git/info/lfs/objects/batch", "batch"),
    (r"PUT /lfs/([0-9a-f]{64})", "upload"),
    (r"POST /verify", "verify"),
    (rf"POST /api/{KIND}/{NAME}/commit/(.+)", "commit"),
    (rf"GET (?:/datasets)?/{NAME}/resolve/([0-9a-f]{{40}}|main)/(.+)", "resolve"),
)


def is_large(path: str) -> bool:
    """Return whether a file is kept beside git, as the hub does with tables and tensors."""
    return path.endswith((".parquet", ".safetensors"))
