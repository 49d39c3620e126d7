"""The requests of the page. Names in them are looked up, never joined to a path."""

import asyncio
import json
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web

from selfmocap.app.archive import iterate_zip
from selfmocap.app.captures import CHARACTERS, EXPORTS, RESULT, CaptureQueue, QueuedCapture, result_files
from selfmocap.app.names import safe_name
from selfmocap.app.result import result_summary
from selfmocap.app.settings import PROGRAMS, export_choice, input_settings
from selfmocap.app.strings import text
from selfmocap.app.tasks import run_task
from selfmocap.app.uploads import Uploads

_PAGE_FILES = {
    "app.css": "text/css", "app.js": "text/javascript", "capture.js": "text/javascript", "dom.js": "text/javascript",
    "result.js": "text/javascript", "viewer.js": "text/javascript", "strings.en.json": "application/json",
}  # fmt: skip
_VIDEO_SUFFIXES = {
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".gif", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".wmv", ".3gp",
}  # fmt: skip
_MEDIA_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm"}
_CHARACTER_SUFFIXES = (".glb", ".vrm", ".bvh")
_MAX_CHARACTER_BYTES = 500_000_000
_MAX_LISTED_VIDEOS = 500
_EVENT_INTERVAL, _EVENT_IDLE = 0.2, 15.0
"""Seconds between two events, and after which a silent connection is proved alive."""
_ATTACHMENT_POLICY = "sandbox; default-src 'none'"
_REPORT_POLICY = "frame-ancestors 'self'"
EXAMPLE = files("selfmocap.app") / "example.mp4"


class Routes:
    """The handlers of the page's requests."""

    def __init__(self, queue: CaptureQueue, uploads: Uploads) -> None:
        self.queue, self.uploads = queue, uploads
        self.one_task = asyncio.Semaphore(1)
        """Looking at videos, exports and retargeting wait for each other."""

    def add_to(self, app: web.Application) -> None:
        """Add all addresses, which begin with the token."""
        get, post = app.router.add_get, app.router.add_post
        get("/{token}/", self.page)
        get("/{token}/page/{name}", self.page_file)
        get("/{token}/api/events", self.events)
        get("/{token}/api/videos", self.videos)
        post("/{token}/api/uploads", self.upload)
        post("/{token}/api/captures", self.choose)
        for action in (self.start, self.cancel, self.remove, self.export, self.retarget):
            post(f"/{{token}}/api/captures/{{id}}/{action.__name__}", action)
        for content in (self.first, self.video, self.result, self.zip):
            get(f"/{{token}}/api/captures/{{id}}/{content.__name__}", content)
        get("/{token}/api/captures/{id}/files/{name:.+}", self.file)

    # ---- the page ---------------------------------------------------------------------------------------------

    async def page(self, _: web.Request) -> web.Response:
        return _page_file("index.html", "text/html")

    async def page_file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _PAGE_FILES:
            raise web.HTTPNotFound
        return _page_file(name, _PAGE_FILES[name])

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Send the state of all captures after each change, as server-sent events."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for changed in self.queue.changes(_EVENT_INTERVAL, _EVENT_IDLE):
            state = {
                "captures": list(self.queue.rows()),
                "free_bytes": self.uploads.free_bytes(),
                "input_settings": input_settings(),
                "programs": list(PROGRAMS),
                "folder": str(self.queue.folder),
            }
            try:
                await response.write(f"data: {json.dumps(state)}\n\n".encode() if changed else b":\n\n")
            except ConnectionResetError:
                break
        return response

    # ---- videos -----------------------------------------------------------------------------------------------

    async def videos(self, _: web.Request) -> web.Response:
        """List the videos in the folder, outside those of the captures."""
        return web.json_response(sorted(await asyncio.to_thread(self._videos)))

    async def upload(self, request: web.Request) -> web.Response:
        name = request.query.get("name", "video")
        with self.uploads.admit(request.content_length, self.uploads.max_bytes) as size:
            job_id = self.queue.create_id(name)
            video = self.queue.upload_path(job_id, name)
            try:
                await self.uploads.receive(request, video, size)
            except BaseException:
                self.queue.discard(job_id)
                raise
        async with self.one_task:
            job = await self.queue.add(job_id, name, video)
        return web.json_response({"id": job.id})

    async def choose(self, request: web.Request) -> web.Response:
        """Add the example, or a video of the folder by its name in the list."""
        name = (await _json(request, video=str)).get("video")
        known = await asyncio.to_thread(self._videos)
        if name is not None and name not in known:
            raise ValueError(text("no_such_video", name=name))
        job_id = self.queue.create_id(name or EXAMPLE.name)
        if name is None:
            video = self.queue.upload_path(job_id, EXAMPLE.name)
            video.write_bytes(EXAMPLE.read_bytes())
        else:
            video = known[name]
        async with self.one_task:
            job = await self.queue.add(job_id, Path(name or EXAMPLE.name).name, video)
        return web.json_response({"id": job.id})

    def _videos(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in self.queue.folder.rglob("*"):
            inside = path.relative_to(self.queue.folder)
            is_own = inside.parts[0] == self.queue.home.name or any(
                part.startswith(".") for part in inside.parts
            )
            if (
                not is_own
                and path.suffix.lower() in _VIDEO_SUFFIXES
                and path.is_file()
                and not _has_link(path, inside)
            ):
                found[inside.as_posix()] = path
            if len(found) == _MAX_LISTED_VIDEOS:
                break
        return found

    async def first(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(self.queue.place(self._job(request).id, "first.jpg"))

    async def video(self, request: web.Request) -> web.StreamResponse:
        path = self.queue.folder / self._job(request).video
        if not path.is_file():
            raise web.HTTPNotFound
        kind = _MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
        return web.FileResponse(
            path, headers={"Content-Type": kind, "Content-Security-Policy": _ATTACHMENT_POLICY}
        )

    # ---- the queue --------------------------------------------------------------------------------------------

    async def start(self, request: web.Request) -> web.Response:
        self.queue.start(self._job(request), (await _json(request, settings=dict)).get("settings", {}))
        return web.json_response({})

    async def cancel(self, request: web.Request) -> web.Response:
        await self.queue.cancel(self._job(request))
        return web.json_response({})

    async def remove(self, request: web.Request) -> web.Response:
        await self.queue.remove(self._job(request))
        return web.json_response({})

    # ---- results ----------------------------------------------------------------------------------------------

    async def result(self, request: web.Request) -> web.Response:
        place = self.queue.place(self._job(request).id)
        return web.json_response(await asyncio.to_thread(result_summary, place))

    async def file(self, request: web.Request) -> web.StreamResponse:
        job, name = self._job(request), request.match_info["name"]
        path = (await asyncio.to_thread(result_files, self.queue.place(job.id))).get(name)
        if path is None:
            raise web.HTTPNotFound
        if name == f"{RESULT}/report.html":
            return web.FileResponse(path, headers={"Content-Security-Policy": _REPORT_POLICY})
        headers = {"Content-Security-Policy": _ATTACHMENT_POLICY}
        if path.suffix not in (".mp4", ".jpg"):
            headers["Content-Disposition"] = _attachment(path.name)
        return web.FileResponse(path, headers=headers)

    async def zip(self, request: web.Request) -> web.StreamResponse:
        """Send the files of a capture, or those in one folder of it, as a zip archive."""
        job, part = self._job(request), request.query.get("part", "")
        paths = await asyncio.to_thread(result_files, self.queue.place(job.id))
        chosen = {name: path for name, path in paths.items() if name.startswith(part)}
        name = safe_name(f"{Path(job.title).stem}{f'-{part}' if part else ''}.zip")
        headers = {"Content-Type": "application/zip", "Content-Disposition": _attachment(name)}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        blocks = iterate_zip(chosen)
        while block := await asyncio.to_thread(_next_block, blocks):
            await response.write(block)
        return response

    async def export(self, request: web.Request) -> web.Response:
        """Write files for a program, or of formats, of some people."""
        job = self._job(request)
        wanted = await _json(request, program=str, formats=list, people=list)
        program, formats = wanted.get("program"), wanted.get("formats", [])
        export_choice(program, formats)
        part = f"{EXPORTS}/{program or 'files'}"
        out = self.queue.place(job.id, part)
        out.mkdir(parents=True, exist_ok=True)
        motions = [str(path) for path in self._motions(job, wanted.get("people", []))]
        async with self.one_task:
            done = await run_task("export", motions=motions, out=str(out), program=program, formats=formats)
        return web.json_response(done | {"part": part})

    async def retarget(self, request: web.Request) -> web.Response:
        """Receive a character and write it with the motions of some people."""
        job, name = self._job(request), safe_name(request.query.get("name", ""))
        people = [int(number) for number in request.query.get("people", "").split(",") if number.isdigit()]
        suffix = Path(name).suffix
        if suffix not in _CHARACTER_SUFFIXES:
            raise ValueError(text("no_character", found=suffix or name))
        motions = self._motions(job, people)
        motions = motions[:1] if suffix == ".bvh" else motions
        character = self.queue.place(job.id, "input", f"character-{name}")
        folder = self.queue.place(job.id, CHARACTERS)
        folder.mkdir(exist_ok=True)
        out = folder / name
        with self.uploads.admit(
            request.content_length, min(_MAX_CHARACTER_BYTES, self.uploads.max_bytes)
        ) as size:
            async with self.one_task:
                character.unlink(missing_ok=True)
                try:
                    await self.uploads.receive(request, character, size)
                    motions = [str(path) for path in motions]
                    await run_task("retarget", motions=motions, character=str(character), out=str(out))
                finally:
                    character.unlink(missing_ok=True)
        return web.json_response({"file": f"{CHARACTERS}/{name}"})

    def _motions(self, job: QueuedCapture, people: list[Any]) -> list[Path]:
        """Return the motions of people by their numbers, or of all without any. Raises ValueError without a motion."""
        paths = result_files(self.queue.place(job.id))
        found = [
            p for name, p in paths.items() if name.startswith(f"{RESULT}/person-") and p.name == "motion.npz"
        ]
        chosen = [
            p for p in found if not people or p.parent.name in {f"person-{number}" for number in people}
        ]
        if not chosen or job.state in ("queued", "running"):
            raise ValueError(text("no_motion", title=job.title))
        return chosen

    def _job(self, request: web.Request) -> QueuedCapture:
        job = self.queue.jobs.get(request.match_info["id"])
        if job is None:
            raise web.HTTPNotFound
        return job


def _page_file(name: str, kind: str) -> web.Response:
    content = (files("selfmocap.app") / "page" / name).read_bytes()
    return web.Response(body=content, content_type=kind, charset="utf-8")


def _attachment(name: str) -> str:
    return f"attachment; filename*=UTF-8''{quote(name)}"


def _next_block(blocks: Any) -> bytes:
    """Return the next block that is not empty; nothing at the end."""
    return next((block for block in blocks if block), b"")


def _has_link(path: Path, inside: Path) -> bool:
    """Test whether a path, or a folder above it, is a link that may lead out of the folder."""
    return any(parent.is_symlink() for parent in (path, *path.parents[: len(inside.parts) - 1]))


async def _json(request: web.Request, **kinds: type) -> dict[str, Any]:
    """Read the body as an object with values of these kinds, each optional. Raises ValueError for another."""
    try:
        body = await request.json() if request.can_read_body else {}
    except RecursionError:
        raise ValueError(text("wrong_request")) from None
    if not isinstance(body, dict) or any(
        k not in kinds or not isinstance(v, kinds[k]) for k, v in body.items()
    ):
        raise ValueError(text("wrong_request"))
    return body
