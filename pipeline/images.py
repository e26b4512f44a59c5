"""Reading images: any file to RGB, and the part of a face crop that a network takes."""

import io
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from common.errors import InputError

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 64_000_000
MAX_PIXELS_OF_PHOTO = 130_000_000  # phones take 108 million; decoding and turning takes 0.8 GB
MAX_BYTES = 1 << 30  # of a file: more than any photo has
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# Images that users have and that Pillow alone does not read: what they are, what to do, how they begin.
KINDS_NOT_READ: tuple[tuple[str, str, Callable[[bytes], bool]], ...] = (
    (
        "a HEIC photo",
        "install the package pillow-heif",
        lambda data: data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS,
    ),
    (
        "an AVIF photo",
        "install Pillow 11.3 or later, or pillow-heif",
        lambda data: data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis"),
    ),
    (
        "a JPEG XL photo",
        "convert it to JPEG",
        lambda data: data[:2] == b"\xff\x0a" or data[4:8] == b"JXL ",
    ),
    (
        "a camera's raw photo",
        "develop it to JPEG",
        lambda data: data[8:10] == b"CR" or data[:8] == b"FUJIFILM" or data[:4] in (b"IIRO", b"IIU\x00"),
    ),
    ("a PDF", "extract its pictures", lambda data: data[:5] == b"%PDF-"),
    ("a video", "extract its frames", lambda data: data[4:8] == b"ftyp" or data[:4] == b"\x1aE\xdf\xa3"),
)
MIN_SIDE = 8
# What makes a crop doubtful: bits by their words.
DOUBTS = {1: "not square", 2: "smaller than 32 pixels", 4: "blurred"}
SQUARE = 1.15  # highest ratio of the longer side to the shorter one
SMALL_SIDE = 32  # of LFW's faces of this size 94 % are still recognized, of 24 pixels 84 %
# Mean difference of neighboring pixels over the standard deviation of all. 99 of 100 faces of LFW are above
# 0.078; blurred by a 14th of their side they have 0.044, pasted into a picture six times as large 0.045.
SHARPNESS = 0.05
FLAT = 2.0  # standard deviation of the pixels' values, of 255, below which an image shows nothing
# The box of a crop aligned one way that the other alignment shows, as shares of its width and height:
# dlib's chip is the box (6.2, 22.5)-(106.7, 122.5) of an ArcFace crop of 112 x 112.
WHOLE = (0.0, 0.0, 1.0, 1.0)
DLIB_IN_ARCFACE = (6.2 / 112, 22.5 / 112, 106.7 / 112, 122.5 / 112)
ARCFACE_IN_DLIB = (-6.2 / 100.5, -22.5 / 100, (112 - 6.2) / 100.5, (112 - 22.5) / 100)
JPEG_END = b"\xff\xd9"
WHITES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0, 2.0**31 - 1)  # of 8, 10, 12, 14, 16 and 31 bits
LARGEST_SHARE = 2.0  # largest value of floats from 0 to 1, with what resampling adds
BITS_PER_SAMPLE, MAX_SAMPLE_VALUE = 258, 281  # tags of TIFF
# Not all that Pillow opens: for PostScript, for example, it runs an interpreter.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")


def frame_box(crop: str, frame: str) -> tuple[float, float, float, float]:
    """The box that a network trained on `frame` takes of an image aligned as `crop`, as shares of it."""
    return {("arcface", "dlib"): DLIB_IN_ARCFACE, ("dlib", "arcface"): ARCFACE_IN_DLIB}.get(
        (crop, frame), WHOLE
    )


def read_face(path: Path, size: int, box: tuple[float, float, float, float]) -> np.ndarray:
    """The box of an image, as `cut_face` gives it.

    Raises `InputError` with only the reason where the image cannot be read.
    """
    return cut_face(read_image(path), size, box)


def cut_face(image: Image.Image, size: int, box: tuple[float, float, float, float]) -> np.ndarray:
    """The box of an image, uint8 (size, size, 3); what lies outside the image is black."""
    width, height = image.size
    left, upper, right, lower = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    margins = [max(0, -int(np.floor(left))), max(0, -int(np.floor(upper)))]
    margins += [max(0, int(np.ceil(right)) - width), max(0, int(np.ceil(lower)) - height)]
    if any(margins):
        image = ImageOps.expand(image, (margins[0], margins[1], margins[2], margins[3]))
        left, right, upper, lower = (
            left + margins[0],
            right + margins[0],
            upper + margins[1],
            lower + margins[1],
        )
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, (left, upper, right, lower)))


def doubts_of(image: Image.Image) -> int:
    """Which of DOUBTS hold for an image, as the sum of their bits.

    Raises `InputError` with only the reason where it shows nothing.
    """
    grey = image.convert("L")
    if image.size != (112, 112):
        grey = grey.resize((112, 112), Image.Resampling.BILINEAR)
    values = np.asarray(grey, np.float32)
    deviation = float(values.std())
    if deviation < FLAT:
        raise InputError("shows nothing: all its pixels are about the same")
    sharpness = float(np.abs(np.diff(values, axis=1)).mean()) / deviation
    longer, shorter = max(image.size), min(image.size)
    held = longer > SQUARE * shorter, shorter < SMALL_SIDE, sharpness < SHARPNESS
    return sum(bit for bit, holds in zip(DOUBTS, held, strict=True) if holds)


def read_image(path: Path) -> Image.Image:
    """Decode an image file to RGB: first frame, upright, transparency on white.

    Raises `InputError` with only the reason; opens regular files only, so nothing can hang.
    """
    return decode_image(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file of MAX_BYTES at most; raises `InputError` with only the reason."""
    with reasons_alone():
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # reading a FIFO or a device might never end
            raise InputError("is not a regular file")
        if found.st_size > MAX_BYTES:
            raise InputError(f"has {found.st_size} bytes, too many for an image")
        return path.read_bytes()


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """As `read_image`, from the bytes of a file."""
    with reasons_alone(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=known_formats()) as image:
                if image.width * image.height > max_pixels:
                    raise InputError(f"has {image.width} x {image.height} pixels, too many")
                if min(image.size) < MIN_SIDE:
                    raise InputError(f"has {image.width} x {image.height} pixels, too few for a face")
                whole = load_whole(image, data)
                ImageOps.exif_transpose(whole, in_place=True)
                return to_rgb(whole)
        except UnidentifiedImageError:
            raise InputError(kind_not_read(data)) from None


def kind_not_read(data: bytes) -> str:
    """Why a file that no decoder here knows is not read, by its first bytes."""
    for kind, remedy, is_kind in KINDS_NOT_READ:
        if is_kind(data):
            return f"is {kind}, which is not read here: {remedy}"
    return "is no image, or of a kind that is not read"


@contextmanager
def reasons_alone() -> Iterator[None]:
    """Whatever is wrong with an image becomes an `InputError` with only the reason."""
    try:
        yield
    except FileNotFoundError:
        raise InputError("not found") from None
    except PermissionError:
        raise InputError("no permission to read it") from None
    except Image.DecompressionBombError:
        raise InputError("has too many pixels") from None
    except InputError:
        raise
    except OSError as error:  # of the file system, or with no number, of a decoder
        reason = (error.strerror or "").lower() if error.errno else f"is damaged ({_line_of(error)})"
        raise InputError(reason) from None
    except Exception as error:  # decoders raise many kinds for damaged files
        raise InputError(f"is damaged ({_line_of(error)})") from None


def _line_of(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


@cache
def known_formats() -> tuple[str, ...]:
    """Those of FORMATS that this Pillow can read, with pillow-heif where that is there."""
    Image.init()
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def load_whole(image: Image.Image, data: bytes) -> Image.Image:
    """Decode an image opened from the bytes of a file; a JPEG that lacks only its end marker is whole.

    Raises `OSError` where more is missing: then the last pixels depend on what is put in its place.
    """
    try:
        image.load()
        return image
    except OSError:
        if image.format != "JPEG":
            raise
        data = data.removesuffix(JPEG_END[:1])
        ends = [data + filler * 64 + JPEG_END for filler in (b"", b"\x55", b"\xaa")]
        decoded = [Image.open(io.BytesIO(end), formats=("JPEG",)) for end in ends]
        if any(other.tobytes() != decoded[0].tobytes() for other in decoded[1:]):
            raise
        return decoded[0]


def white_of(image: Image.Image, largest: float) -> float:
    """The sample that is white in a grey image of more than 8 bits, or of floats, whose largest is given.

    It is what a TIFF says, else the largest value of the smallest usual depth that holds `largest`: cameras
    write 10 or 12 bits into files of 16.
    """
    if image.mode == "F" and largest <= LARGEST_SHARE:
        return 1.0
    tags = getattr(image, "tag_v2", {})
    said = [
        *tags.get(MAX_SAMPLE_VALUE, ()),
        *(2**bits - 1 for bits in tags.get(BITS_PER_SAMPLE, ()) if bits < 16),
    ]
    return min(
        [white for white in said if white >= largest] or [w for w in WHITES if w >= largest] or [largest]
    )


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode to RGB: deeper samples scaled to 8 bits, transparency laid on white."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0)
        white = white_of(image, float(values.max(initial=0)))
        return Image.fromarray((values.clip(0, white) * (255 / white)).astype(np.uint8)).convert("RGB")
    if "A" in image.mode or "transparency" in image.info:
        rgba = image.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(paper, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
