"""A server on this machine with CIFAR archives of our own making, in the place of the one that torchvision names."""

from __future__ import annotations

import hashlib
import http.server
import io
import pickle
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fvm_core.data.cifar import KINDS
from fvm_core.data.download import ARCHIVES

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def cifar_archive(images: int = 4) -> bytes:
    """A .tar.gz as the published one: five batches and a test batch of `images` noise pictures, and the class names."""
    chance = np.random.default_rng(0)
    files = {"batches.meta": {"label_names": NAMES, "num_cases_per_batch": images}}
    for name in (*KINDS["cifar10n"].train, "test_batch"):
        pixels = chance.integers(0, 256, (images, 3072), dtype=np.uint8)
        files[name] = {"labels": chance.integers(0, 10, images).tolist(), "data": pixels}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            data = pickle.dumps(content, 2)
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


class CifarServer:
    """Serves `data`; `requests` are the Range headers seen ("" for none). `cut` ends an answer after so many bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.cut, self.ranges = data, 0, True
        self.requests: list[str] = []
        self.url = ""


@contextmanager
def serving(data: bytes) -> Iterator[CifarServer]:
    """Run a CifarServer on a free port."""
    state = CifarServer(data)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            state.requests.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.ranges else 0
            if start >= len(state.data):
                self.send_error(416)
                return
            body = state.data[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.cut] if state.cut else body)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def cifar_served(monkeypatch: pytest.MonkeyPatch, data: bytes) -> Iterator[CifarServer]:
    """Serve `data` where we believe CIFAR-10 to be, with its checksum."""
    with serving(data) as server:
        point_cifar10(monkeypatch, server.url, hashlib.md5(data).hexdigest())
        yield server


def point_cifar10(monkeypatch: pytest.MonkeyPatch, url: str, md5: str = "0" * 32) -> None:
    """Let downloads of CIFAR-10 go to `url` and expect `md5`."""
    monkeypatch.setitem(ARCHIVES, "cifar10n", replace(ARCHIVES["cifar10n"], url=url, md5=md5))


def put_labels(folder: Path, images: int = 20) -> None:
    """Write a file of human labels for `images` training pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "CIFAR-10_human.pt").write_bytes(pickle.dumps({"worse_label": np.arange(images) % 10}, 2))
