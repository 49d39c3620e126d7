"""The sound of a part of a video, for another video of the same frames."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain

from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError

from selfmocap.io.pictures import is_picture
from selfmocap.io.stream import open_stream
from selfmocap.io.video import Video

SOUND_RATE = 48000
"""Samples a second."""
_FRAME_SAMPLES = 1024
"""Of an AAC frame."""


def sound_frames(video: Video) -> Iterator[AudioFrame]:
    """Decode the sound that belongs to the frames that are read, in stereo; nothing where the file has none.

    Times count from the first frame that is read. Damaged parts are left out."""
    if video.path.is_dir() or is_picture(video.path):
        return
    times = video.times[video.first_frame :][: video.declared_frames]
    with open_stream(video.path) as (container, pictures):
        if not container.streams.audio:
            return
        stream = container.streams.audio[0]
        offset = float((pictures.start_time or 0) * (pictures.time_base or 0))
        start, end = float(times[0]) + offset, float(times[-1]) + 1 / video.fps + offset
        resampler = AudioResampler("fltp", "stereo", SOUND_RATE, _FRAME_SAMPLES)
        for frame in chain(_decoded(container, stream), [None]):
            for part in resampler.resample(frame):
                time = (part.time or 0.0) - start
                if time >= end - start:
                    return
                if time >= 0:
                    part.pts, part.time_base = round(time * SOUND_RATE), Fraction(1, SOUND_RATE)
                    yield part


def _decoded(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            frames = [] if packet is None else packet.decode()
        except FFmpegError:
            continue  # A damaged part.
        if packet is None:
            return
        yield from frames
