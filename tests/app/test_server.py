"""The server of the app without a browser: its queue, its files, and attacks on it."""

import io
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from selfmocap.body_model.body import Body
from tests.helpers.app_server import TOKEN, AppServer, app_server, until, write_results
from tests.helpers.stub_worker import STEPS

pytest.importorskip("aiohttp", reason="pip install 'selfmocap[app]'")


@pytest.fixture(scope="module")
def finished(server: AppServer, clip: Path) -> str:
    """The id of a finished capture."""
    return server.captured(clip, quality="fast")


# ---- what it does -----------------------------------------------------------------------------------------------


def test_a_capture_has_a_result_with_warnings_people_and_files(server: AppServer, finished: str) -> None:
    (job,) = [one for one in server.captures() if one["id"] == finished]
    assert (job["state"], job["title"], job["size"], job["settings"]) == (
        "done",
        "walk.mp4",
        [96, 64],
        {"quality": "fast"},
    )
    assert job["stages"][0]["done"] == job["stages"][0]["total"] == STEPS
    result = server.api(f"captures/{finished}/result")
    assert "gravity" in result["warnings"][0]
    assert [person["number"] for person in result["people"]] == [1, 2]
    left, top, right, bottom = result["people"][0]["box"]
    assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
    assert {"result/report.html", "result/overlay.mp4"} <= {file["name"] for file in result["files"]}


def test_the_time_left_is_that_of_the_whole_capture(server: AppServer, finished: str, clip: Path) -> None:
    (server.folder / "hold").touch()
    running = server.upload(clip)["id"]
    server.api(f"captures/{running}/start", {"settings": {"quality": "fast"}})
    until(lambda: next(o for o in server.captures() if o["id"] == running)["seconds_left"] is not None)
    (server.folder / "hold").unlink()
    until(lambda: server.state(running) == "done")
    of = {one["id"]: one for one in server.captures()}
    assert of[running]["seconds_left"] is None and of[finished]["frames"] == STEPS
    assert sum(of[finished]["stage_seconds"].values()) == pytest.approx(of[finished]["elapsed"], abs=0.1)
    server.api(f"captures/{running}/remove", {})


def test_films_can_be_read_in_parts(server: AppServer, finished: str) -> None:
    for path in (f"captures/{finished}/video", f"captures/{finished}/files/result/overlay.mp4"):
        status, part, headers = server.get(f"/{TOKEN}/api/{path}", Range="bytes=4-7")
        assert (status, part, headers["Content-Type"]) == (206, b"ftyp", "video/mp4")


def test_the_zip_has_all_files_or_those_of_one_folder(server: AppServer, finished: str) -> None:
    _, content, _ = server.get(f"/{TOKEN}/api/captures/{finished}/zip")
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    listed = {file["name"] for file in server.api(f"captures/{finished}/result")["files"]}
    assert set(archive.namelist()) == listed
    stored = server.folder / "captures" / finished / "result" / "overlay.mp4"
    assert archive.read("result/overlay.mp4") == stored.read_bytes()
    _, content, _ = server.get(f"/{TOKEN}/api/captures/{finished}/zip?part=result/person-2/")
    assert set(zipfile.ZipFile(io.BytesIO(content)).namelist()) == {n for n in listed if "person-2" in n}


def test_errors_are_those_of_the_command_line(server: AppServer, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video at all")
    status, message = server.upload(tmp_path / "notes.mp4")
    assert (
        status == 422
        and "expected a video (mp4, mkv, avi, gif, ...), found a file that cannot be read" in message
    )
    failed = server.captured(clip, people="largest")
    (job,) = [one for one in server.captures() if one["id"] == failed]
    assert (job["state"], job["error"]) == ("failed", "nobody is large; try all")
    status, message = server.api(f"captures/{failed}/start", {"settings": {"height": "9"}})
    assert (status, message) == (422, "a height of 9.0 m; expected metres from 0.5 to 2.6")
    for settings in ({"weights": "/etc/passwd"}, {"quality": 3}, {"rotate": True}, {"fov": "wide"}):
        assert server.api(f"captures/{failed}/start", {"settings": settings})[0] == 422
    assert server.api(f"captures/{failed}/remove", {}) == {}
    assert not (server.folder / "captures" / failed).exists()


def test_a_crash_of_a_capture_is_an_error_of_it_alone(server: AppServer, clip: Path) -> None:
    (server.folder / "crash").touch()
    crashed = server.captured(clip)
    (server.folder / "crash").unlink()
    assert server.state(crashed) == "failed"
    assert server.api(f"captures/{crashed}/start", {"settings": {}}) == {}
    until(lambda: server.state(crashed) == "done")
    server.api(f"captures/{crashed}/remove", {})


def test_one_capture_runs_at_a_time_and_cancelling_ends_its_process(server: AppServer, clip: Path) -> None:
    (server.folder / "hold").touch()
    ids = [server.upload(clip)["id"] for _ in range(2)]
    for one in ids:
        server.api(f"captures/{one}/start", {"settings": {}})
    until(lambda: next(o for o in server.captures() if o["id"] == ids[0])["stages"])
    assert [server.state(one) for one in ids] == ["running", "queued"]
    assert server.api(f"captures/{ids[0]}/start", {"settings": {}})[0] == 422
    workers = _children(server.process.pid)
    assert len(workers) == 1
    server.api(f"captures/{ids[0]}/cancel", {})
    assert server.state(ids[0]) == "cancelled" and not _is_running(workers[0])
    (server.folder / "hold").unlink()
    until(lambda: server.state(ids[1]) == "done")
    for one in ids:
        server.api(f"captures/{one}/remove", {})


def test_videos_of_the_folder_can_be_chosen_and_nothing_outside(
    server: AppServer, clip: Path, tmp_path: Path
) -> None:
    (server.folder / "films").mkdir()
    (server.folder / "films" / "run.mp4").write_bytes(clip.read_bytes())
    (server.folder / "outside.mp4").symlink_to(clip)
    (server.folder / "elsewhere").symlink_to(clip.parent)
    assert server.api("videos") == ["films/run.mp4"]
    chosen = server.api("captures", {"video": "films/run.mp4"})["id"]
    assert server.api(f"captures/{chosen}/remove", {}) == {}
    assert (server.folder / "films" / "run.mp4").exists()
    for name in ("outside.mp4", str(clip), "../clip/walk.mp4", "films/../films/run.mp4", "captures"):
        assert server.api("captures", {"video": name})[0] == 422


# ---- attacks ----------------------------------------------------------------------------------------------------


def test_other_origins_hosts_and_tokens_are_refused(server: AppServer, finished: str) -> None:
    home, local = f"/{TOKEN}/", f"127.0.0.1:{server.port}"
    assert server.get(home, Host=local, Origin=f"http://{local}")[0] == 200
    assert server.get(home, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200
    refused = [
        ("GET", home, {"Host": "evil.example"}),
        ("GET", home, {"Host": f"evil.example:{server.port}"}),
        ("GET", home, {"Host": f"127.0.0.1.evil.example:{server.port}"}),
        ("GET", home, {"Host": ""}),
        ("POST", f"{home}api/captures", {"Origin": "http://evil.example"}),
        ("POST", f"{home}api/captures", {"Origin": "null"}),
        ("POST", f"{home}api/captures", {"Origin": f"https://{local}"}),
        ("POST", f"{home}api/captures", {"Origin": "http://127.0.0.1:1"}),
        ("POST", f"{home}api/captures", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}),
        ("GET", f"{home}api/events", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}),
        ("GET", "/", {}),
        ("POST", "/", {}),
        ("GET", "/wrong/", {}),
        ("GET", f"/{TOKEN[:-1]}/", {}),
        ("GET", f"/{TOKEN}%00/", {}),
        ("GET", "/%C3%A4/api/events", {}),
        ("GET", f"/wrong/api/captures/{finished}/zip", {}),
        ("POST", "/wrong/api/uploads?name=a.mp4", {}),
    ]
    for method, path, headers in refused:
        assert server.request(method, path, None, headers)[0] == 403, (method, path, headers)


def test_paths_do_not_escape(server: AppServer, finished: str) -> None:
    (server.folder / "secret.txt").write_text("secret")
    capture = server.folder / "captures" / finished
    (capture / "result" / "link.mp4").symlink_to(server.folder / "secret.txt")
    (capture / "result" / ".hidden.mp4").write_text("secret")
    base = f"/{TOKEN}/api/captures"
    paths = [
        f"{base}/{finished}/files/../../../secret.txt",
        f"{base}/{finished}/files/result/../../../secret.txt",
        f"{base}/{finished}/files/%2e%2e/%2e%2e/%2e%2e/secret.txt",
        f"{base}/{finished}/files/..%2f..%2f..%2fsecret.txt",
        f"{base}/{finished}/files//etc/passwd",
        f"{base}/{finished}/files/%2Fetc%2Fpasswd",
        f"{base}/{finished}/files/result/link.mp4",
        f"{base}/{finished}/files/result/.hidden.mp4",
        f"{base}/{finished}/files/capture.json",
        f"{base}/..%2F..%2F.selfmocap/files/token",
        f"{base}/../.selfmocap/zip",
        f"{base}/%2e%2e/zip",
        f"/{TOKEN}/page/../server.py",
        f"/{TOKEN}/page/..%2Fserver.py",
        f"/{TOKEN}/page/%2e%2e%2fserver.py",
    ]
    for path in paths:
        status, content, _ = server.get(path)
        assert status in (403, 404) and b"secret" not in content and TOKEN.encode() not in content, path
    for part in ("..", "../..", "/", "input"):
        _, content, _ = server.get(f"{base}/{finished}/zip?part={part}")
        assert zipfile.ZipFile(io.BytesIO(content)).namelist() == []
    for path in ((capture / "result" / "link.mp4"), (capture / "result" / ".hidden.mp4")):
        path.unlink()


@pytest.mark.parametrize(
    "name",
    ["../../walk.mp4", "..", "a/b\\c:d*?.mp4", "x" * 5000 + ".mp4", "%00\u202egpj.", ""],
)
def test_names_of_uploads_stay_in_their_folder(server: AppServer, clip: Path, name: str) -> None:
    from urllib.parse import quote

    before = set(server.folder.iterdir())
    uploaded = server.upload(clip, quote(name, safe="%"))["id"]
    (video,) = (server.folder / "captures" / uploaded / "input").iterdir()
    assert video.read_bytes() == clip.read_bytes() and len(video.name) < 80 and video.name[0] != "."
    assert set(server.folder.iterdir()) == before
    server.api(f"captures/{uploaded}/remove", {})


def test_uploads_are_bounded_in_size_and_number_and_the_disk_is_not_filled(
    server: AppServer, clip: Path
) -> None:
    def announced(length: str) -> int:
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            head = f"POST /{TOKEN}/api/uploads?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n\r\n"
            connection.sendall(head.encode())
            return int(connection.recv(100).split()[1])

    before = set((server.folder / "captures").iterdir())
    assert announced("Content-Length: 100000000000000") == 413
    assert announced("Transfer-Encoding: chunked") == 411
    assert announced("Content-Length: 0") == 411
    waiting = []
    for _ in range(8):
        waiting.append(socket.create_connection(("127.0.0.1", server.port)))
        waiting[-1].sendall(
            f"POST /{TOKEN}/api/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n".encode()
        )
    until(lambda: announced("Content-Length: 9") == 429)
    for connection in waiting:
        connection.close()
    until(lambda: set((server.folder / "captures").iterdir()) == before)
    ids = []
    while "id" in (answer := server.upload(clip)):
        ids.append(answer["id"])
    assert answer == (422, "The folder holds 10 captures: delete some first.")
    refused = [server.upload(clip) for _ in range(500)]
    assert set(refused) == {answer} and len(list((server.folder / "captures").iterdir())) == 10
    for one in ids:
        server.api(f"captures/{one}/remove", {})


def test_a_full_disk_is_announced_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from selfmocap.app import uploads

    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_500_000_000))
    limits = uploads.Uploads(tmp_path, 10**12)
    with (
        limits.admit(400_000_000, 10**12),
        pytest.raises(uploads.RefusedUploadError, match="0.20 GB, and 0.10 GB are free") as refused,
        limits.admit(200_000_000, 10**12),
    ):
        pass
    assert refused.value.status == 507 and limits.expected == []


def test_files_of_strangers_are_no_pages(server: AppServer, finished: str) -> None:
    page = server.folder / "captures" / finished / "result" / "page.html"
    page.write_text("<script>alert(1)</script>")
    _, _, headers = server.get(f"/{TOKEN}/api/captures/{finished}/files/result/page.html")
    page.unlink()
    assert (
        headers["Content-Disposition"].startswith("attachment")
        and "sandbox" in headers["Content-Security-Policy"]
    )
    for path in ("", "page/app.js", "api/videos", f"api/captures/{finished}/video"):
        _, _, headers = server.get(f"/{TOKEN}/{path}")
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "same-origin"
        assert headers["Content-Security-Policy"] and "Access-Control-Allow-Origin" not in headers


def test_bodies_that_are_no_requests_are_refused(server: AppServer, finished: str) -> None:
    for body in (b"[]", b"{", b'{"settings": 3}', b'{"other": 1}', b"[" * 5000, b'"' + b"a" * 100_000 + b'"'):
        assert server.api(f"captures/{finished}/start", body)[0] in (413, 422)
    assert server.api(f"captures/{finished}/export", {"program": "../x"})[0] == 422
    assert server.api(f"captures/{finished}/export", {"formats": ["exe"]})[0] == 422
    assert server.api(f"captures/{finished}/export", {"people": ["../../x"]})[0] == 422
    assert server.api(f"captures/{finished}/retarget?name=a.sh", b"x")[0] == 422


def test_another_host_needs_a_password(tmp_path: Path) -> None:
    from selfmocap.app.config import AppConfig

    with pytest.raises(ValueError, match="give --password too"):
        AppConfig(host="0.0.0.0")
    with pytest.raises(ValueError, match="at least 8"):
        AppConfig(host="0.0.0.0", password="short")
    with app_server(tmp_path, "--password", "a long password") as server:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert b'type="password"' in server.get("/")[1]
        assert server.get("/", Host=f"evil.example:{server.port}")[0] == 403
        assert server.request("POST", "/", "password=a+wrong+one", form)[0] == 403
        status, _, headers = server.request("POST", "/", "password=a+long+password", form)
        assert (status, headers["Location"]) == (303, f"/{TOKEN}/")


# ---- the folder -------------------------------------------------------------------------------------------------


def test_a_restart_resumes_what_ran_and_removes_what_was_being_uploaded(
    body: Body, clip: Path, tmp_path: Path
) -> None:
    write_results(tmp_path / ".results", body)
    (tmp_path / "hold").touch()
    with app_server(tmp_path) as server:
        running, waiting, new = (server.upload(clip)["id"] for _ in range(3))
        for one in (running, waiting):
            server.api(f"captures/{one}/start", {"settings": {"height": "1.7"}})
        until(lambda: next(o for o in server.captures() if o["id"] == running)["stages"])
        workers = _children(server.process.pid)
        server.kill()
        until(lambda: not _is_running(workers[0]))
        (tmp_path / "captures" / "half" / "input").mkdir(parents=True)
        (tmp_path / "captures" / "odd").mkdir()
        (tmp_path / "captures" / "odd" / "capture.json").write_text(
            '{"id": "odd", "video": "../../etc/passwd"}'
        )
        (tmp_path / "hold").unlink()
        server.start()
        until(lambda: [server.state(one) for one in (running, waiting, new)] == ["done", "done", "new"])
        assert not (tmp_path / "captures" / "half").exists() and (tmp_path / "captures" / "odd").exists()
        second = subprocess.run(
            [*server.process.args[:3], str(tmp_path), "0"],  # pyright: ignore
            cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "is used by another app" in second.stderr


def test_without_the_extra_the_command_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from selfmocap.cli.main import main

    for name in [name for name in sys.modules if name.startswith("selfmocap.app.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(SystemExit) as stop:
        main(["app", "--no-browser"])
    assert stop.value.code == 2 and "pip install 'selfmocap[app]'" in capsys.readouterr().err


def test_the_token_is_private(server: AppServer) -> None:
    opener = server.folder / ".selfmocap" / "open.html"
    assert opener.stat().st_mode & 0o077 == 0 and TOKEN in opener.read_text()


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in found for child in path.read_text().split()]


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
