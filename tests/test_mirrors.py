"""Mirrors and downloads: what a server says is looked at before it is kept, waiting has an end, and no password is printed."""

import errno
import http.server
import io
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from types import SimpleNamespace

import pytest

from omac import paths
from omac.datasets.loaders import catalogue, download
from omac.study.prepare import pull

pytestmark = pytest.mark.slow

SOUND = b"PK" + bytes(range(256)) * 200


class Answers(http.server.BaseHTTPRequestHandler):
    """Gives the answers of a list, one a request: (code, body, headers), and how many bytes of it before it breaks off."""

    todo, asked = [], []

    def do_GET(self):
        cls = type(self)
        cls.asked.append(dict(self.headers))
        answer = cls.todo.pop(0) if cls.todo else (404, b"")
        code, body, headers, give = answer + ({}, None)[len(answer) - 2 :]
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), "Retry-After": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:give])

    def log_message(self, *words):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server on this machine: its address, the answers that it gives, what it was asked."""
    handler = type("Handler", (Answers,), {"todo": [], "asked": []})
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    yield SimpleNamespace(host=f"127.0.0.1:{httpd.server_port}", todo=handler.todo, asked=handler.asked)
    httpd.shutdown()
    httpd.server_close()


def archive():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as z:
        z.writestr("3m.vlt/Good/metadata.json", '{"version": 1.0}')
    return stream.getvalue()


def asked_for(server, monkeypatch, tmp_path, address=None):
    """What a pull of a Vault through the mirror says."""
    monkeypatch.setenv("OMAC_MIRROR", address or f"http://{server.host}")
    with pytest.raises((ValueError, OSError, RuntimeError)) as e:
        pull("ogmarl", "3m", "good", None, None, tmp_path)
    assert "\n" not in str(e.value)
    return str(e.value)


def kept(tmp_path):
    folder = tmp_path / "build" / "downloads"
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock") if folder.is_dir() else []


PAGES = {
    "a login page": b"<!doctype html><title>Sign in</title>",
    "nothing": b"",
    "a message": b'{"error": "no"}',
    "half an archive": archive()[:-10],
}


@pytest.mark.parametrize("name", PAGES)
def test_a_body_that_is_no_archive_is_not_kept_and_the_next_run_asks_again(name, server, monkeypatch, tmp_path):
    server.todo.append((200, PAGES[name]))
    said = asked_for(server, monkeypatch, tmp_path)
    assert "a login or error page in place of the file: nothing was kept" in said and kept(tmp_path) == []
    server.todo.append((200, archive()))
    assert "vault_index" in asked_for(server, monkeypatch, tmp_path)  # read, as far as there is something in it
    assert "ogmarl-3m.zip" in kept(tmp_path)


def test_a_page_that_was_kept_once_is_thrown_away(server, monkeypatch, tmp_path):
    page = tmp_path / "build" / "downloads" / "ogmarl-3m.zip"
    page.parent.mkdir(parents=True)
    page.write_bytes(PAGES["a login page"])
    server.todo.append((200, archive()))
    assert "vault_index" in asked_for(server, monkeypatch, tmp_path)
    assert page.read_bytes() == archive()


@pytest.mark.parametrize("code", download.BUSY)
def test_a_busy_server_is_asked_again_and_not_for_ever(code, server, tmp_path):
    server.todo += [(code, b"busy")] * 2 + [(200, SOUND)]
    assert download.download(f"http://{server.host}/x", tmp_path / "x").read_bytes() == SOUND
    server.todo += [(code, b"busy")] * 20
    with pytest.raises(ConnectionError, match=f"/y: {code} .* after 0 bytes$"):
        download.download(f"http://{server.host}/y", tmp_path / "y")
    assert len(server.asked) == 3 + download.ATTEMPTS


def test_pauses_double_and_a_server_that_asks_for_an_hour_is_left_alone(server, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    server.todo += [(503, b"", {"Retry-After": text}) for text in ("", "soon", "²", "5")] + [(200, SOUND)]
    download.download(f"http://{server.host}/x", tmp_path / "x")
    assert pauses == [1, 2, 4, 5]
    for text in ("3600", "Fri, 31 Dec 2100 23:59:59 GMT"):
        server.todo.append((429, b"", {"Retry-After": text}))
        with pytest.raises(ConnectionError, match=r"429 Too Many Requests, it asks to wait for \d+ seconds"):
            download.download(f"http://{server.host}/y", tmp_path / "y")
    assert len(pauses) == 4


@pytest.mark.parametrize("mark", ["ETag", "Last-Modified"])
def test_a_resumed_download_asks_for_the_version_that_it_began_with(mark, server, tmp_path):
    old, new = {"ETag": '"a"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}[mark], SOUND[::-1]
    server.todo += [(200, SOUND, {mark: old}, 9000), (200, new, {mark: '"b"'})]
    assert download.download(f"http://{server.host}/x", tmp_path / "x").read_bytes() == new
    assert server.asked[1]["If-Range"] == old and server.asked[1]["Range"] == "bytes=9000-"
    server.todo += [(200, SOUND, {mark: old}, 9000)]
    server.todo += [(206, SOUND[9000:], {mark: old, "Content-Range": f"bytes 9000-{len(SOUND) - 1}/{len(SOUND)}"})]
    assert download.download(f"http://{server.host}/y", tmp_path / "y").read_bytes() == SOUND
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file() and p.suffix != ".lock") == ["x", "y"]


def test_halves_of_two_versions_are_never_joined(server, tmp_path):
    """Nothing marks the version, or the server takes no notice of the mark: it is read anew."""
    there = {"Content-Range": f"bytes 9000-{len(SOUND) - 1}/{len(SOUND)}"}
    server.todo += [(200, SOUND, {}, 9000), (200, SOUND[::-1])]
    assert download.download(f"http://{server.host}/x", tmp_path / "x").read_bytes() == SOUND[::-1]
    assert "Range" not in server.asked[1]
    server.todo += [(200, SOUND, {"ETag": '"a"'}, 9000), (206, SOUND[::-1][9000:], {"ETag": '"b"', **there})]
    server.todo += [(200, SOUND[::-1], {"ETag": '"b"'})]
    assert download.download(f"http://{server.host}/y", tmp_path / "y").read_bytes() == SOUND[::-1]
    server.todo += [(200, SOUND, {"ETag": 'W/"a"'}, 9000), (200, SOUND[::-1])]
    assert download.download(f"http://{server.host}/z", tmp_path / "z").read_bytes() == SOUND[::-1]
    assert "If-Range" not in server.asked[-1]


class Drip(Answers):
    """Sends a byte now and then, of its headers too if `slow` says so."""

    slow = "body"

    def do_GET(self):
        if type(self).slow == "body":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        try:
            while True:
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass


@pytest.mark.parametrize("slow", ["body", "headers"])
def test_a_slow_drip_ends(slow, monkeypatch, tmp_path):
    handler = type("Handler", (Drip,), {"slow": slow})
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    httpd.daemon_threads = True
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "TIMEOUT", (0.5, 0.5))
    began = time.monotonic()
    with pytest.raises(ConnectionError, match="too slow to wait for|Timeout after 0 bytes"):
        download.download(f"http://127.0.0.1:{httpd.server_port}/x", tmp_path / "x")
    assert time.monotonic() - began < 30
    httpd.shutdown()
    httpd.server_close()


class Slow(Answers):
    """Gives SOUND in two halves, a while apart."""

    def do_GET(self):
        type(self).asked.append(dict(self.headers))
        self.send_response(200)
        self.send_header("Content-Length", str(len(SOUND)))
        self.end_headers()
        self.wfile.write(SOUND[:9000])
        self.wfile.flush()
        time.sleep(1)
        self.wfile.write(SOUND[9000:])


FETCH = """
import sys
from pathlib import Path
from omac.datasets.loaders import download
print("began", flush=True)
print(len(download.download(sys.argv[1], Path(sys.argv[2])).read_bytes()), flush=True)
"""


def test_two_processes_that_ask_for_one_file_fetch_it_once_and_both_have_it_whole(monkeypatch, tmp_path):
    handler = type("Handler", (Slow,), {"asked": []})
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    env = {**os.environ, "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(paths.ROOT)}
    words = [sys.executable, "-c", FETCH, f"http://127.0.0.1:{httpd.server_port}/x", tmp_path / "x"]
    both = [subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=100)[0] for process in both]
    httpd.shutdown()
    httpd.server_close()
    assert all(text.endswith(f"{len(SOUND)}\n") for text in said) and len(handler.asked) == 1
    assert (tmp_path / "x").read_bytes() == SOUND
    assert sum(f"waiting: another process downloads {tmp_path / 'x'} (PID " in text for text in said) <= 1


def test_an_archive_that_two_unpack_at_once_is_unpacked_once(monkeypatch, tmp_path, capsys):
    """The second finds the folder; to rename onto it would fail and be blamed on the archive."""
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    (tmp_path / "a.zip").write_bytes(archive())
    both, extract, packed = threading.Barrier(2), zipfile.ZipFile.extractall, []

    def slow(self, path):
        packed.append(path)
        time.sleep(0.5)
        extract(self, path)

    monkeypatch.setattr(zipfile.ZipFile, "extractall", slow)
    found = []

    def unpack():
        both.wait()
        found.append(download.unpack(tmp_path / "a.zip"))

    threads = [threading.Thread(target=unpack) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 and len(set(found)) == len(packed) == 1
    assert "waiting: another process unpacks" in capsys.readouterr().out


def test_a_disk_that_knows_no_locks_keeps_nobody_waiting(monkeypatch, tmp_path):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    with paths.alone(tmp_path / "a.lock", "another process works"):
        monkeypatch.setattr(fcntl, "flock", refuse)
        with paths.alone(tmp_path / "a.lock", "another process works"):
            pass
        monkeypatch.undo()


SECRET = "s3cret"


@pytest.mark.parametrize(
    "end", [(404, b""), (200, b"<html>"), (503, b""), (200, archive()), (500, b"", {"Retry-After": "x"})]
)
@pytest.mark.parametrize(
    "address", ["http://reader:{}@{}", "http://reader:{}#@{}", "http://{1}/a?token={0}", "HTTP://u:{}@{}"]
)
def test_no_password_of_a_mirror_is_printed(end, address, server, monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    server.todo += [end] * 10
    said = asked_for(server, monkeypatch, tmp_path, address.format(SECRET, server.host))
    printed = capfd.readouterr()
    assert SECRET not in said + printed.out + printed.err


@pytest.mark.parametrize(
    "address", ["ftp://u:{}@host/x", "https:/u:{}@host", "u:{}@host:/x", "//u:{}@host/x", "s3://{}/x"]
)
def test_a_mirror_that_is_neither_a_folder_nor_a_web_address_is_not_repeated(address, server, monkeypatch, tmp_path):
    said = asked_for(server, monkeypatch, tmp_path, address.format(SECRET))
    assert SECRET not in said and "OMAC_MIRROR is neither a folder nor an address" in said


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("https://u:{}@h:99999/x", "is no address: a server's name is missing or misspelt, or its port is none"),
        ("http://u:{}@[::1", "is no address"),
        ("http://", "is no address"),
        ("https:///{}", "is no address"),
        ("http://host/?token={}", "has a . or #, and names of files are put behind it"),
        ("http://host/x#{}", "has a . or #, and names of files are put behind it"),
    ],
)
def test_an_address_below_which_no_file_can_be_is_refused_and_not_repeated(address, words, monkeypatch):
    monkeypatch.setenv("OMAC_MIRROR", address.format(SECRET))
    with pytest.raises(ValueError, match=f"OMAC_MIRROR {words}") as error:
        download.mirror()
    assert SECRET not in str(error.value) and "\n" not in str(error.value)


def test_a_relative_file_address_begins_at_the_checkout_too(monkeypatch):
    monkeypatch.setenv("OMAC_MIRROR", "file:my/mirror")
    assert download.mirror() == paths.ROOT / "my" / "mirror"
    monkeypatch.setenv("OMAC_MIRROR", "file:///my/mi%20rror")
    assert download.mirror() == paths.Path("/my/mi rror")


def test_the_origin_that_a_file_notes_has_no_password(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OMAC_MIRROR", f"http://reader:{SECRET}@{server.host}")
    server.todo.append((200, archive()))
    entry = catalogue.find("ogmarl", "3m", "good")
    _, origin = download.obtain(entry, "ogmarl/3m.zip", None, "https://example.org/3m.zip")
    assert (
        SECRET not in str(origin)
        and origin["address"] == "OMAC_MIRROR/ogmarl/3m.zip in place of https://example.org/3m.zip"
    )


def test_a_disk_without_room_is_called_that(server, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    server.todo.append((200, archive() + bytes(5000)))
    assert "is full" in asked_for(server, monkeypatch, tmp_path)
    assert kept(tmp_path) in ([], ["ogmarl-3m.zip.part.tag"])
